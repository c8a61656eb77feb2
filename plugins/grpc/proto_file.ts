/**
 * A `.proto` at run time: its services, its messages as bytes and back, each checked.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import protobuf from "npm:protobufjs@7.6.6";
import { PatchbayError } from "@patchbay/core";
import { checkMessage } from "./message_check.ts";

/** How a `.proto` is loaded. */
export interface LoadOptions {
  /** Where what it imports is looked for, besides beside it. */
  readonly includeDirs?: readonly string[];
}

/** One method of a service. */
export interface ProtoMethod {
  /** Its name, as in the file. */
  readonly name: string;
  /** Its path: `/package.Service/Method`. */
  readonly path: string;
  /** Whether the client sends many messages. */
  readonly requestStream: boolean;
  /** Whether the server does. */
  readonly responseStream: boolean;
  /** The request. */
  readonly request: ProtoMessage;
  /** The response. */
  readonly response: ProtoMessage;
}

/** One message type. */
export class ProtoMessage {
  /** Its full name. */
  readonly name: string;
  readonly #type: protobuf.Type;

  /** @ignore Made by the service. */
  constructor(type: protobuf.Type) {
    this.#type = type;
    this.name = type.fullName.slice(1);
  }

  /**
   * A value as bytes.
   *
   * @param value The fields, named as in the file.
   * @param what What it is called in an error: `request`.
   * @throws {PatchbayError} `invalid`, naming the path of the field.
   */
  encode(value: unknown, what: string): Buffer {
    const checked = checkMessage(this.#type, value, what);
    return this.#type.encode(this.#type.fromObject(checked)).finish() as Buffer;
  }

  /**
   * The value in some bytes. Absent fields have the default of their type, absent messages are
   * absent; 64-bit numbers are decimal texts, enumerations their names, bytes `Uint8Array`.
   *
   * @param bytes The bytes.
   * @param what What they are called in an error.
   * @throws {PatchbayError} `protocol`: they are no such message.
   */
  decode(bytes: Uint8Array, what: string): unknown {
    let message: protobuf.Message;
    try {
      message = this.#type.decode(bytes);
    } catch (cause) {
      throw new PatchbayError("protocol", `${what} is no ${this.name}`, {
        cause,
        remedy: "compare the .proto of both sides",
      });
    }
    return this.#type.toObject(message, SHAPE);
  }
}

/** How messages look to handlers. */
const SHAPE: protobuf.IConversionOptions = {
  longs: String,
  enums: String,
  defaults: true,
  arrays: true,
  objects: true,
};

/** A service in a file. */
export interface ProtoService {
  /** Its full name: `package.Service`. */
  readonly name: string;
  /** Its methods by name. */
  readonly methods: ReadonlyMap<string, ProtoMethod>;
}

/** A loaded `.proto`, with what it imports. */
export class ProtoFile {
  /** @ignore For reflection and the generator of types. */
  readonly root: protobuf.Root;

  /** @ignore Made by {@link loadProto} and {@link parseProto}. */
  constructor(root: protobuf.Root) {
    this.root = root.resolveAll() as protobuf.Root;
  }

  /** The full names of all services. */
  get services(): string[] {
    return [...walk(this.root)].flatMap((one) =>
      one instanceof protobuf.Service ? [one.fullName.slice(1)] : []
    );
  }

  /**
   * A service.
   *
   * @param name Its full name, or its last part where that says which.
   * @throws {PatchbayError} `not_found`, naming those that there are.
   */
  service(name?: string): ProtoService {
    const all = this.services;
    const fits = name === undefined
      ? all
      : all.filter((one) => one === name || one.endsWith(`.${name}`));
    if (fits.length !== 1) {
      const what = name === undefined
        ? "which service of the .proto is meant"
        : `the .proto has no service ${name}`;
      throw new PatchbayError("not_found", `${what}: it has ${all.join(", ") || "none"}`, {
        transport: "grpc",
        remedy: `name one of ${all.join(", ")}`,
      });
    }
    const service = this.root.lookupService(fits[0]);
    const methods = new Map<string, ProtoMethod>();
    for (const method of service.methodsArray) {
      method.resolve();
      methods.set(method.name, {
        name: method.name,
        path: `/${fits[0]}/${method.name}`,
        requestStream: method.requestStream === true,
        responseStream: method.responseStream === true,
        request: new ProtoMessage(method.resolvedRequestType as protobuf.Type),
        response: new ProtoMessage(method.resolvedResponseType as protobuf.Type),
      });
    }
    return { name: fits[0], methods };
  }
}

function* walk(namespace: protobuf.NamespaceBase): Generator<protobuf.ReflectionObject> {
  for (const nested of namespace.nestedArray) {
    yield nested;
    if (nested instanceof protobuf.Namespace) yield* walk(nested);
  }
}

/**
 * Loads a `.proto` from a file. Field names stay as they stand there.
 *
 * @param path Its path, or a `file:` URL.
 * @param options Where its imports are.
 * @throws {PatchbayError} `not_found`: no such file; `invalid`: it is no `.proto`, with the line.
 */
export function loadProto(path: string | URL, options: LoadOptions = {}): ProtoFile {
  const file = pathOf(path);
  const root = new protobuf.Root();
  root.resolvePath = (origin, target) => {
    if (origin !== "" && !isVirtual(target)) {
      throw new Error(`import ${JSON.stringify(target)} (${origin}) leaves the folders it is in`);
    }
    const beside = origin === "" ? target : `${folderOf(origin)}/${target}`;
    const candidates = [
      beside,
      ...(options.includeDirs ?? []).map((folder) => `${folder}/${target}`),
    ];
    return candidates.find(exists) ?? beside;
  };
  try {
    root.loadSync(file, { keepCase: true, alternateCommentMode: true });
    return new ProtoFile(root);
  } catch (cause) {
    throw unreadable(cause, file);
  }
}

/**
 * Reads a `.proto` from a text that imports nothing but `google/protobuf/…`.
 *
 * @param text The text.
 * @throws {PatchbayError} `invalid`, with the line.
 */
export function parseProto(text: string): ProtoFile {
  try {
    const root = new protobuf.Root();
    const { imports = [] } = protobuf.parse(text, root, {
      keepCase: true,
      alternateCommentMode: true,
    });
    for (const name of imports) {
      const common = protobuf.common.get(name);
      if (common === null) throw new Error(`a text cannot import ${name}: use loadProto`);
      if (common.nested) root.addJSON(common.nested);
    }
    return new ProtoFile(root);
  } catch (cause) {
    throw unreadable(cause, "the text");
  }
}

function unreadable(cause: unknown, file: string): PatchbayError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const missing = cause instanceof Deno.errors.NotFound || /ENOENT|no such file/i.test(message);
  return new PatchbayError(
    missing ? "not_found" : "invalid",
    `${file} cannot be loaded: ${message}`,
    {
      transport: "grpc",
      remedy: missing
        ? "correct the path, or name the folder of what it imports in includeDirs"
        : "correct the .proto where the message says",
      cause,
    },
  );
}

/** Whether a path may be imported: protoc's own rule, so that a file cannot name any other one. */
function isVirtual(path: string): boolean {
  return !path.includes("\\") &&
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

function pathOf(path: string | URL): string {
  if (typeof path === "string" && !path.startsWith("file:")) return path;
  const { protocol, pathname } = new URL(path);
  if (protocol === "file:") return decodeURIComponent(pathname);
  throw new PatchbayError("invalid", `${path} is no path of a file`, {
    transport: "grpc",
    remedy: "give a path or a file: URL; fetch what lies elsewhere, and use parseProto",
  });
}

function folderOf(path: string): string {
  const end = path.lastIndexOf("/");
  return end < 0 ? "." : path.slice(0, end) || "/";
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
