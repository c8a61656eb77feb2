/**
 * How values become ROS messages and back: as they are where there is a ROS type, as JSON in strings
 * where there is none; and which of the two an endpoint uses.
 *
 * @module
 */

import { type CodecTable, PatchbayError } from "@patchbay/core";
import {
  JSON_ACTION,
  JSON_DEFINITIONS,
  JSON_MESSAGE,
  JSON_SERVICE,
  JsonText,
} from "./json_text.ts";
import { actionNames, replyName, requestName, rosType, topicName } from "./node/mod.ts";
import type { RosNode } from "./ros_node.ts";
import { type RosName } from "./ros_name.ts";
import {
  type ActionType,
  fullName,
  type MessageType,
  type ServiceType,
  type TakeBytes,
  Types,
} from "./types/mod.ts";

/** A value as a message, and back. */
export interface Wording {
  /**
   * The message of a value.
   *
   * @throws {PatchbayError} `invalid`, `too_large`.
   */
  say(value: unknown): unknown;
  /**
   * The value of a message.
   *
   * @throws {PatchbayError} `protocol`, `too_large`.
   */
  hear(message: unknown): unknown;
}

/** What a topic carries. */
export interface TopicForm extends Wording {
  /** Its type. */
  readonly type: MessageType;
}

/** An outcome with an error in it, where the type has a place for that. */
export interface ErrorWording {
  /** The message that tells of an error; `undefined`: the type has no place for it. */
  sayError(error: PatchbayError): unknown;
  /** The error that a message tells of. */
  hearError(message: unknown): PatchbayError | undefined;
}

/** What a service carries. */
export interface ServiceForm {
  /** Its type. */
  readonly type: ServiceType;
  /** What is asked. */
  readonly request: Wording;
  /** What is answered. */
  readonly response: Wording & ErrorWording;
}

/** What an action carries. */
export interface ActionForm {
  /** Its type. */
  readonly type: ActionType;
  /** What is to be done. */
  readonly goal: Wording;
  /** What came of it. */
  readonly result: Wording & ErrorWording;
  /** How far it has got. */
  readonly feedback: Wording;
}

/** The interfaces for JSON. */
const jsonTypes = (): Types => new Types({ definitions: JSON_DEFINITIONS });

const AS_IS: Wording = {
  // A message without fields is an empty object.
  say: (value) => value ?? {},
  hear: (message) => message,
};

/** Many services have these two fields, which say what went wrong. */
function hasVerdict({ definition: { fields } }: MessageType): boolean {
  const has = (name: string, base: string) =>
    fields.some((each) =>
      each.name === name && each.type.base === base && each.type.array === undefined
    );
  return has("success", "bool") && has("message", "string");
}

function verdict(type: MessageType): ErrorWording {
  const tells = hasVerdict(type);
  return {
    sayError: ({ message }) => tells ? { success: false, message } : undefined,
    // It is an answer like any other.
    hearError: () => undefined,
  };
}

/** Chooses forms for the endpoints of one node. */
export class Forms {
  readonly #node: RosNode;
  readonly #text: JsonText;
  readonly #json: boolean;
  #types: Types | undefined;

  private constructor(node: RosNode, text: JsonText, json: boolean) {
    this.#node = node;
    this.#text = text;
    this.#json = json;
  }

  /**
   * Loads the codecs.
   *
   * @param node Whose.
   * @param codecs The bay's.
   * @param json Whether what has no type travels as JSON.
   */
  static async load(node: RosNode, codecs: CodecTable, json: boolean): Promise<Forms> {
    return new Forms(node, await JsonText.load(codecs, node.maxBytes), json);
  }

  get #jsonTypes(): Types {
    return this.#types ??= jsonTypes();
  }

  #asText(field: "data" | "value", codec: string | undefined): Wording {
    const text = this.#text;
    return {
      say: (value) => ({ [field]: text.write(value, codec) }),
      hear: (message) => text.read((message as Record<string, string>)[field]),
    };
  }

  #withError(codec: string | undefined): Wording & ErrorWording {
    return {
      ...this.#asText("value", codec),
      sayError: (error) => ({ value: "", error: JSON.stringify(error.toWire()) }),
      hearError: (message) => {
        const { error } = message as { error: string };
        if (error === "") return undefined;
        try {
          return PatchbayError.fromWire(JSON.parse(error));
        } catch {
          return new PatchbayError("remote", error);
        }
      },
    };
  }

  /**
   * What a topic carries.
   *
   * @param full Its full name.
   * @param said What is said of it.
   * @param codec The codec that the contract names.
   * @returns `undefined`: nobody says what, and no JSON is asked for.
   * @throws {PatchbayError} `not_found`: an interface that is not known.
   */
  topic(full: string, said: RosName, codec: string | undefined): TopicForm | undefined {
    const type = said.type ?? this.#typeOf([topicName(full)]);
    return this.topicOf(type, said.type !== undefined, codec);
  }

  /**
   * What a topic of a known type carries.
   *
   * @param type The type; `undefined`: not known.
   * @param declared Whether this side says so.
   * @param codec The codec that the contract names.
   */
  topicOf(
    type: string | undefined,
    declared: boolean,
    codec: string | undefined,
  ): TopicForm | undefined {
    const asJson = this.#json && !declared &&
      (type === undefined || fullName(type) === JSON_MESSAGE);
    if (asJson) {
      return { type: this.#jsonTypes.message(JSON_MESSAGE), ...this.#asText("data", codec) };
    }
    return type === undefined ? undefined : { type: this.#node.types.message(type), ...AS_IS };
  }

  /**
   * What a service carries.
   *
   * @param full Its full name.
   * @param said What is said of it.
   * @param codec The codec that the contract names.
   * @returns `undefined`: nobody says what, and no JSON is asked for.
   * @throws {PatchbayError} `not_found`: an interface that is not known.
   */
  service(full: string, said: RosName, codec: string | undefined): ServiceForm | undefined {
    const type = said.type ??
      this.#typeOf([requestName(full), replyName(full)], /_Re(quest|sponse)$/);
    const isJson = type === undefined ? this.#json : fullName(type, "srv") === JSON_SERVICE;
    if (isJson) {
      return {
        type: this.#jsonTypes.service(JSON_SERVICE),
        request: this.#asText("value", codec),
        response: this.#withError(codec),
      };
    }
    if (type === undefined) return undefined;
    const known = this.#node.types.service(type);
    return { type: known, request: AS_IS, response: { ...AS_IS, ...verdict(known.response) } };
  }

  /**
   * What an action carries.
   *
   * @param full Its full name.
   * @param said What is said of it.
   * @param codec The codec that the contract names.
   * @returns `undefined`: nobody says what, and no JSON is asked for.
   * @throws {PatchbayError} `not_found`: an interface that is not known.
   */
  action(full: string, said: RosName, codec: string | undefined): ActionForm | undefined {
    const { sendGoal } = actionNames(full);
    const type = said.type ?? this.#typeOf([requestName(sendGoal)], /_SendGoal_Request$/);
    const isJson = type === undefined ? this.#json : fullName(type, "action") === JSON_ACTION;
    if (isJson) {
      return {
        type: this.#jsonTypes.action(JSON_ACTION),
        goal: this.#asText("value", codec),
        result: this.#withError(codec),
        feedback: this.#asText("value", codec),
      };
    }
    if (type === undefined) return undefined;
    const known = this.#node.types.action(type);
    return {
      type: known,
      goal: AS_IS,
      result: { ...AS_IS, sayError: () => undefined, hearError: () => undefined },
      feedback: AS_IS,
    };
  }

  /** The type that others use on one of some DDS topics. */
  #typeOf(topics: readonly string[], suffix: RegExp = /$^/): string | undefined {
    for (const topic of topics) {
      for (const { type } of this.#node.remote(topic)) {
        const name = rosType(type)?.replace(suffix, "");
        if (name !== undefined) return name;
      }
    }
    return undefined;
  }

  /**
   * The payload of a message.
   *
   * @param type Its type.
   * @param message The message.
   * @param take Gives the bytes to write into; default: fresh ones.
   * @throws {PatchbayError} `invalid`, naming the path; `too_large`.
   */
  encode(type: MessageType, message: unknown, take?: TakeBytes): Uint8Array<ArrayBuffer> {
    const payload = type.encode(message, take);
    const size = payload.length - 4;
    const max = this.#node.maxBytes;
    // What became text is checked before: base64 is longer.
    if (size <= max || type.definition.name.startsWith("patchbay_msgs/") || this.#isText(type)) {
      return payload;
    }
    throw new PatchbayError("too_large", `the message has ${size} bytes, the limit ${max}`, {
      details: { size, max },
      remedy: "raise maxMessageBytes on both sides, or send less",
    });
  }

  #isText(type: MessageType): boolean {
    return this.#types !== undefined && type === this.#types.message(JSON_MESSAGE);
  }
}

/** Why an endpoint is not on this wire. */
export const NO_TYPE =
  "nobody says of which ROS type it is, and JSON in strings is not asked for (config.ros2.json)";
/** What to do about it. */
export const NO_TYPE_REMEDY =
  'say native: { ros2: { type: "std_msgs/msg/String" } } in the contract, or config.ros2.endpoints, ' +
  "or config.ros2.json: true";
