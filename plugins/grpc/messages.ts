/**
 * The messages of `patchbay.v1`: their types, and their bytes by protobufjs from the published file.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import protobuf from "npm:protobufjs@7.6.6";
import { type Bridged, PatchbayError } from "@patchbay/core";
import { PATCHBAY_PROTO } from "./patchbay_proto.ts";

/** The published service. */
export const SERVICE = "patchbay.v1.Patchbay";
/** How the paths of its methods begin. */
export const PATH = `/${SERVICE}/`;

/** A value in a message: `json`, or `body` with its type, or neither for no value. */
export interface Value {
  /** JSON, as UTF-8. */
  readonly json?: Uint8Array;
  /** Anything else. */
  readonly body?: Uint8Array;
  /** Its media type; empty: bytes as they are. */
  readonly contentType?: string;
}

/** 64 bits: protobufjs reads them as an object, and takes a number. */
export type Count = number | { toNumber(): number };

/** The first message of a call. */
export interface CallRequest extends Value {
  /** What is called. */
  readonly address: string;
}

/** The numbers of the policies, as the file has them. */
export const OVERFLOW = { drop_oldest: 1, drop_newest: 2, fail: 3, block: 4 } as const;

/** A message of a listener. */
export interface ListenRequest {
  /** What to listen to. */
  readonly pattern?: string;
  /** Whether to begin with last values. */
  readonly retained?: boolean;
  /** One of {@link OVERFLOW}. */
  readonly overflow?: number;
  /** The most messages that wait. */
  readonly maxQueue?: number;
  /** How many more may come. */
  readonly credit?: number;
}

/** A shout. */
export interface Event extends Value {
  /** Where. */
  readonly address: string;
  /** Its number. */
  readonly sequence: Count;
  /** Whose. */
  readonly origin: string;
  /** 0–255. */
  readonly priority?: number;
  /** What was sent along. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether it was kept. */
  readonly retained?: boolean;
}

/** A goal. */
export interface Goal extends Value {
  /** What is to be performed. */
  readonly address: string;
  /** The job's id. */
  readonly id: string;
}

/** A message of a job's owner. */
export interface JobRequest {
  /** The goal. */
  readonly goal?: Goal;
  /** The owner is back. */
  readonly attach?: { readonly address: string; readonly id: string; readonly after: Count };
  /** The owner wants it to stop. */
  readonly cancel?: { readonly reason?: string };
}

/** A message of a job. */
export interface JobEvent {
  /** It has begun. */
  readonly accepted?: { readonly id: string };
  /** Feedback. */
  readonly feedback?: Value & { readonly sequence: Count };
  /** How far it is. */
  readonly progress?: { readonly sequence: Count; readonly fraction: number };
  /** Its end. */
  readonly result?: Value;
}

/** The patterns by their numbers in the file. */
export const PATTERNS = ["", "callable", "speaker", "job"] as const;

/** Who is there, and what is. */
export interface Presence {
  /** The module's name. */
  readonly module: string;
  /** The instance's. */
  readonly instance: string;
  /** The bay's id. */
  readonly id: string;
  /** What is there. */
  readonly endpoints: readonly PresentEndpoint[];
}

/** Something that a bay serves, speaks or performs. */
export interface PresentEndpoint {
  /** One of {@link PATTERNS}, by its number. */
  readonly pattern: number;
  /** Where. */
  readonly address: string;
  /** Whether several may serve it. */
  readonly shared?: boolean;
  /** Of a speaker: whether it keeps its last value. */
  readonly retain?: boolean;
  /** How it came over bridges. */
  readonly bridged?: Bridged | null;
}

/** One message type. */
export interface Codec<T> {
  /** Its bytes. */
  encode(message: T): Buffer;
  /**
   * The message in some bytes.
   *
   * @throws {PatchbayError} `protocol`.
   */
  decode(bytes: Uint8Array): T;
}

/** All of them. */
export interface Messages {
  readonly callRequest: Codec<CallRequest>;
  readonly callResponse: Codec<Value>;
  readonly listenRequest: Codec<ListenRequest>;
  readonly event: Codec<Event>;
  readonly jobRequest: Codec<JobRequest>;
  readonly jobEvent: Codec<JobEvent>;
  readonly presence: Codec<Presence>;
}

/** JSON is read from its bytes, so that it is decoded and checked once; on the wire it is the same. */
const INTERNAL = PATCHBAY_PROTO.replaceAll("optional string json", "optional bytes json");

function build(): Messages {
  const { root } = protobuf.parse(INTERNAL);
  root.resolveAll();
  const codec = <T>(name: string): Codec<T> => {
    const type = root.lookupType(`patchbay.v1.${name}`);
    return {
      encode: (message) => type.encode(message as Record<string, unknown>).finish() as Buffer,
      decode(bytes) {
        try {
          return type.decode(bytes) as T;
        } catch (cause) {
          throw new PatchbayError("protocol", `the message is no patchbay.v1.${name}`, { cause });
        }
      },
    };
  };
  return {
    callRequest: codec("CallRequest"),
    callResponse: codec("CallResponse"),
    listenRequest: codec("ListenRequest"),
    event: codec("Event"),
    jobRequest: codec("JobRequest"),
    jobEvent: codec("JobEvent"),
    presence: codec("Presence"),
  };
}

let built: Messages | undefined;

/** The messages; made when they are first asked for, and the same for all. */
export function messages(): Messages {
  return built ??= build();
}

/** A count as a number. */
export function numberOf(count: Count): number {
  return typeof count === "number" ? count : count.toNumber();
}
