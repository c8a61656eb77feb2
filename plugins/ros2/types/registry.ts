/**
 * Interfaces by their names: finds their text, reads it once, and gives what encodes and decodes
 * them.
 *
 * @module
 */

import { nearest } from "@patchbay/core";
import { PatchbayError } from "@patchbay/core/errors";
import { compiledCodec, mayCompile } from "./compiled_codec.ts";
import type {
  ActionDefinition,
  Constant,
  MessageDefinition,
  ServiceDefinition,
} from "./definition.ts";
import {
  actionMessage,
  feedbackMessage,
  getResult,
  sendGoal,
  serviceEvent,
  serviceMessage,
} from "./derived.ts";
import { typeHash } from "./hash.ts";
import { parseAction, parseMessage, parseService } from "./parser.ts";
import {
  amentSource,
  commonInterfaces,
  commonSource,
  folderSource,
  inlineSource,
  type InterfaceSource,
} from "./sources.ts";
import { type Codec, walkingCodec } from "./walking_codec.ts";

/** A message type that can be used. */
export interface MessageType extends Codec {
  /** Its full name, such as `std_msgs/msg/String`. */
  readonly name: string;
  /** Its name on the wire, such as `std_msgs::msg::dds_::String_`. */
  readonly ddsName: string;
  /** What it is made of. */
  readonly definition: MessageDefinition;
  /** Its constants. */
  readonly constants: Readonly<Record<string, Constant["value"]>>;
  /** `RIHS01_` and 64 hexadecimal digits. */
  readonly hash: string;
}

/** A service type that can be used. */
export interface ServiceType {
  /** Its full name, such as `std_srvs/srv/SetBool`. */
  readonly name: string;
  /** What is asked. */
  readonly request: MessageType;
  /** What is answered. */
  readonly response: MessageType;
  /** The service's own hash. */
  readonly hash: string;
}

/** An action type that can be used. */
export interface ActionType {
  /** Its full name, such as `example_interfaces/action/Fibonacci`. */
  readonly name: string;
  /** What is to be done. */
  readonly goal: MessageType;
  /** What came of it. */
  readonly result: MessageType;
  /** How far it has got. */
  readonly feedback: MessageType;
  /** The service that takes goals. */
  readonly sendGoal: ServiceType;
  /** The service that gives results. */
  readonly getResult: ServiceType;
  /** What is published while a goal is worked on. */
  readonly feedbackMessage: MessageType;
  /** The action's own hash. */
  readonly hash: string;
}

/** Where interfaces are looked for. */
export interface TypesOptions {
  /** Texts by their full names: these come first. */
  readonly definitions?: Readonly<Record<string, string>>;
  /** Folders: see {@link folderSource}. */
  readonly folders?: readonly string[];
  /** The installed ROS: what `AMENT_PREFIX_PATH` holds. Comes before the common interfaces. */
  readonly amentPrefixPath?: string;
  /** Whether codecs may be generated as code. Default: where that is possible. */
  readonly compile?: boolean;
}

/** How deep messages may be nested: more is a definition that holds itself. */
const MAX_DEPTH = 32;

/** The interfaces of one node. */
export class Types {
  readonly #sources: readonly InterfaceSource[];
  readonly #compile: boolean;
  readonly #definitions = new Map<string, MessageDefinition>();
  readonly #services = new Map<string, ServiceDefinition>();
  readonly #actions = new Map<string, ActionDefinition>();
  readonly #messages = new Map<string, MessageType>();
  readonly #checked = new Set<string>();

  /**
   * Reads nothing yet.
   *
   * @param options Where interfaces are looked for.
   */
  constructor(options: TypesOptions = {}) {
    this.#compile = options.compile ?? mayCompile();
    this.#sources = [
      inlineSource(
        Object.fromEntries(
          Object.entries(options.definitions ?? {}).map(([name, text]) => [fullName(name), text]),
        ),
      ),
      ...(options.folders ?? []).map(folderSource),
      ...options.amentPrefixPath ? [amentSource(options.amentPrefixPath)] : [],
      commonSource,
    ];
  }

  #text(name: string): string {
    for (const source of this.#sources) {
      const text = source(name);
      if (text !== undefined) return text;
    }
    const near = nearest(name, [...commonInterfaces().keys()]);
    throw new PatchbayError("not_found", `the interface ${name} is not known`, {
      details: { interface: name },
      remedy: "pass its text, a folder that holds it, or source ROS so that AMENT_PREFIX_PATH " +
        `names it${near === undefined ? "" : `; there is ${near}`}`,
    });
  }

  /** Everything that a service is made of. */
  #addService(service: ServiceDefinition): ServiceDefinition {
    this.#services.set(service.name, service);
    const event = serviceEvent(service);
    for (const each of [service.request, service.response, event, serviceMessage(service)]) {
      this.#definitions.set(each.name, each);
    }
    return service;
  }

  #service(name: string): ServiceDefinition {
    const known = this.#services.get(name);
    if (known !== undefined) return known;
    const owner = /^(.*\/action\/\w+?)_(?:SendGoal|GetResult)$/.exec(name);
    if (owner !== null) {
      this.#action(owner[1]);
      return this.#services.get(name) as ServiceDefinition;
    }
    return this.#addService(parseService(name, this.#text(name)));
  }

  #action(name: string): ActionDefinition {
    const known = this.#actions.get(name);
    if (known !== undefined) return known;
    const action = parseAction(name, this.#text(name));
    this.#actions.set(name, action);
    this.#addService(sendGoal(action));
    this.#addService(getResult(action));
    const { goal, result, feedback } = action;
    for (const each of [goal, result, feedback, feedbackMessage(action), actionMessage(action)]) {
      this.#definitions.set(each.name, each);
    }
    return action;
  }

  /** The definition of a message, those of services and actions included. */
  readonly definition = (name: string): MessageDefinition => {
    const known = this.#definitions.get(name);
    if (known !== undefined) return known;
    const [, kind, type = ""] = name.split("/");
    if (kind === "srv" || kind === "action") {
      const owner = name.replace(
        /(?:_(?:SendGoal|GetResult))?_(?:Request|Response|Event|Goal|Result|Feedback|FeedbackMessage)$/,
        "",
      );
      if (kind === "srv") this.#service(owner);
      else this.#action(owner.replace(/_(?:SendGoal|GetResult)$/, ""));
      const found = this.#definitions.get(name);
      if (found !== undefined) return found;
      throw new PatchbayError("not_found", `${owner} has no ${type}`);
    }
    const definition = parseMessage(name, this.#text(name));
    this.#definitions.set(name, definition);
    return definition;
  };

  /** Fails where a message holds itself, or something that is not known. */
  #check(name: string, depth: number): void {
    if (this.#checked.has(name)) return;
    if (depth > MAX_DEPTH) {
      throw new PatchbayError("invalid", `${name} holds itself, or is nested too deep`);
    }
    for (const { type } of this.definition(name).fields) {
      if (type.message !== undefined) this.#check(type.message, depth + 1);
    }
    this.#checked.add(name);
  }

  /**
   * A message type.
   *
   * @param name `std_msgs/msg/String`, or `std_msgs/String` for short.
   * @throws {PatchbayError} `not_found`, or `invalid` for a definition that cannot be read.
   *
   * @example
   * ```ts
   * import { Types } from "@patchbay/ros2/types";
   *
   * const string = new Types().message("std_msgs/String");
   * const payload = string.encode({ data: "hello" });
   * console.log(string.decode(payload), string.hash);
   * ```
   */
  message(name: string): MessageType {
    const full = fullName(name);
    const known = this.#messages.get(full);
    if (known !== undefined) return known;
    this.#check(full, 0);
    const definition = this.definition(full);
    const codec = (this.#compile ? compiledCodec : walkingCodec)(definition, this.definition);
    let hash: string | undefined;
    const resolve = this.definition;
    const type: MessageType = {
      name: full,
      ddsName: ddsName(full),
      definition,
      constants: Object.fromEntries(definition.constants.map((each) => [each.name, each.value])),
      encode: codec.encode,
      decode: codec.decode,
      get hash() {
        return hash ??= typeHash(definition, resolve);
      },
    };
    this.#messages.set(full, type);
    return type;
  }

  /**
   * A service type.
   *
   * @param name `std_srvs/srv/SetBool`, or `std_srvs/SetBool` for short.
   * @throws {PatchbayError} As `message`.
   */
  service(name: string): ServiceType {
    const { name: full, request, response } = this.#service(fullName(name, "srv"));
    return {
      name: full,
      request: this.message(request.name),
      response: this.message(response.name),
      hash: this.hash(full),
    };
  }

  /**
   * An action type.
   *
   * @param name `example_interfaces/action/Fibonacci`, or `example_interfaces/Fibonacci` for short.
   * @throws {PatchbayError} As `message`.
   */
  action(name: string): ActionType {
    const { name: full, goal, result, feedback } = this.#action(fullName(name, "action"));
    return {
      name: full,
      goal: this.message(goal.name),
      result: this.message(result.name),
      feedback: this.message(feedback.name),
      sendGoal: this.service(`${full}_SendGoal`),
      getResult: this.service(`${full}_GetResult`),
      feedbackMessage: this.message(`${full}_FeedbackMessage`),
      hash: this.hash(full),
    };
  }

  /** The hash of a message, service or action. */
  hash(name: string): string {
    const full = fullName(name);
    const [, kind, type] = full.split("/");
    if (kind === "srv" && !/_(Request|Response|Event)$/.test(type)) this.#service(full);
    else if (kind === "action" && /_(SendGoal|GetResult)$/.test(type)) this.#service(full);
    else if (kind === "action" && !type.includes("_")) this.#action(full);
    return typeHash(this.definition(full), this.definition);
  }
}

/** The full name of an interface that is written in full or for short. */
export function fullName(name: string, kind: "msg" | "srv" | "action" = "msg"): string {
  const parts = name.split("/");
  const full = parts.length === 2 ? `${parts[0]}/${kind}/${parts[1]}` : name;
  if (/^[a-z]\w*\/(msg|srv|action)\/[A-Z]\w*$/i.test(full)) return full;
  throw new PatchbayError("invalid", `${name} is no name of an interface`, {
    remedy: "write package/msg/Type, package/srv/Type or package/action/Type",
  });
}

/** The name of a type on the wire. */
export function ddsName(full: string): string {
  const [packageName, kind, type] = full.split("/");
  return `${packageName}::${kind}::dds_::${type}_`;
}
