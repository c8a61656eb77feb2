/**
 * Contracts: what an endpoint is called and what values go in and out, with types end to end.
 *
 * @module
 */

import { checkAddress } from "./address.ts";
import { PatchbayError } from "./errors.ts";
import type { InputOf, OutputOf, StandardSchema } from "./schema.ts";

/** JSON Schema documents of a contract's values, where the schema library cannot make them. */
export type JsonSchemas = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/**
 * What wires call an endpoint instead of its address, by plugin name, so that it meets a foreign
 * peer: `{ rest: { method: "GET", path: "/users/:id" } }`. Each plugin's README says what it takes.
 */
export type NativeNames = Readonly<Record<string, unknown>>;

/** What all contracts may say. */
export interface ContractOptions {
  /** Where the endpoint is: `module/endpoint`. */
  address: string;
  /** One sentence for documents and `patchbay explain`. */
  description?: string;
  /** The codec by name (`json`, `msgpack`, `raw`); default: what the wire prefers. */
  codec?: string;
  /** Urgency, 0–255, higher first when a queue forms. Default 128. */
  priority?: number;
  /** JSON Schemas by value name (`request`, `response`, `value`, `goal`, …), for documents. */
  jsonSchema?: JsonSchemas;
  /** What wires call it instead of its address, by plugin name. */
  native?: NativeNames;
}

/** What a callable's contract may say besides its schemas. */
export interface CallableOptions extends ContractOptions {
  /** A second execution does no harm: only such calls are ever retried. */
  idempotent?: boolean;
  /** How long a call may take, in milliseconds. Default: 1 s on this host, 5 s on the network. */
  timeoutMs?: number;
}

/** What a speaker's contract may say besides its schema. */
export interface SpeakerOptions extends ContractOptions {
  /** The speaker keeps its last value for listeners that come later and ask for it. */
  retain?: boolean;
  /** A listener is told when nothing came for so long, in milliseconds. */
  maxSilenceMs?: number;
}

/** What a job's contract may say besides its schemas. */
export interface JobOptions extends ContractOptions {
  /** How long a job may go without feedback, in milliseconds. Default 30 s. */
  timeoutMs?: number;
}

/** Request in, response out. */
export interface CallableContract<RequestIn, RequestOut, ResponseIn, ResponseOut>
  extends Readonly<CallableOptions> {
  /** The pattern. */
  readonly pattern: "callable";
  /** The request's validator. */
  readonly request?: StandardSchema;
  /** The response's validator. */
  readonly response?: StandardSchema;
  /** Types only. */
  readonly "~types"?: [(value: RequestIn) => ResponseOut, (value: ResponseIn) => RequestOut];
}

/** A value for every listener. */
export interface SpeakerContract<ValueIn, ValueOut> extends Readonly<SpeakerOptions> {
  /** The pattern. */
  readonly pattern: "speaker";
  /** The value's validator. */
  readonly value?: StandardSchema;
  /** Types only. */
  readonly "~types"?: (value: ValueIn) => ValueOut;
}

/** A goal in, feedback and a result out. */
export interface JobContract<GoalIn, GoalOut, FeedbackIn, FeedbackOut, ResultIn, ResultOut>
  extends Readonly<JobOptions> {
  /** The pattern. */
  readonly pattern: "job";
  /** The goal's validator. */
  readonly goal?: StandardSchema;
  /** The validator of one feedback value. */
  readonly feedback?: StandardSchema;
  /** The result's validator. */
  readonly result?: StandardSchema;
  /** Types only. */
  readonly "~types"?: [
    (value: GoalIn) => [FeedbackOut, ResultOut],
    (value: [FeedbackIn, ResultIn]) => GoalOut,
  ];
}

/** A contract of any pattern, its types forgotten. */
export type AnyContract =
  | CallableContract<never, unknown, never, unknown>
  | SpeakerContract<never, unknown>
  | JobContract<never, unknown, never, unknown, never, unknown>;

const KEYS = {
  callable: ["idempotent", "timeoutMs", "request", "response"],
  speaker: ["retain", "maxSilenceMs", "value"],
  job: ["timeoutMs", "goal", "feedback", "result"],
} as const;
const COMMON = ["address", "description", "codec", "priority", "jsonSchema", "native"];

function build<T>(pattern: keyof typeof KEYS, options: ContractOptions): T {
  const known: readonly string[] = [...COMMON, ...KEYS[pattern]];
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new PatchbayError(
        "invalid",
        `contract ${options.address}: unknown option ${JSON.stringify(key)}`,
        { address: options.address, pattern, remedy: `a ${pattern} knows: ${known.join(", ")}` },
      );
    }
  }
  checkAddress(options.address);
  const p = options.priority;
  if (p !== undefined && !(Number.isInteger(p) && p >= 0 && p <= 255)) {
    throw new PatchbayError("invalid", `contract ${options.address}: priority ${p} is not 0–255`, {
      address: options.address,
      pattern,
    });
  }
  return Object.freeze({ pattern, ...options }) as T;
}

/**
 * Describes a callable: request in, response out.
 *
 * With schemas, the caller's side sees their input type, the handler's side their output type;
 * without, give the two types as arguments.
 *
 * @param options The address, the schemas and what else the contract says.
 * @throws {PatchbayError} `invalid`: a bad address, priority or option.
 *
 * @example
 * ```ts
 * import { defineCallable } from "@patchbay/core";
 * import { z } from "zod";
 *
 * const Add = defineCallable({
 *   address: "math/add",
 *   request: z.object({ a: z.number(), b: z.number() }),
 *   response: z.number(),
 *   idempotent: true,
 * });
 * const Greet = defineCallable<{ name: string }, string>({ address: "desk/greet" });
 * console.log(Add.address, Greet.address);
 * ```
 */
export function defineCallable<
  Request extends StandardSchema | undefined = undefined,
  Response extends StandardSchema | undefined = undefined,
>(
  options: CallableOptions & { request?: Request; response?: Response },
): CallableContract<
  InputOf<Request>,
  OutputOf<Request>,
  InputOf<Response>,
  OutputOf<Response>
>;
/**
 * Describes a callable by its types alone: nothing is validated.
 *
 * @param options The address and what else the contract says.
 */
export function defineCallable<Request, Response>(
  options: CallableOptions,
): CallableContract<Request, Request, Response, Response>;
export function defineCallable(
  options: CallableOptions,
): CallableContract<unknown, unknown, unknown, unknown> {
  return build("callable", options);
}

/**
 * Describes a speaker: a value for every listener.
 *
 * @param options The address, the schema and what else the contract says.
 * @throws {PatchbayError} `invalid`: a bad address, priority or option.
 *
 * @example
 * ```ts
 * import { defineSpeaker } from "@patchbay/core";
 *
 * const Pose = defineSpeaker<{ x: number; y: number }>({ address: "base/pose", retain: true });
 * console.log(Pose.address);
 * ```
 */
export function defineSpeaker<Value extends StandardSchema | undefined = undefined>(
  options: SpeakerOptions & { value?: Value },
): SpeakerContract<InputOf<Value>, OutputOf<Value>>;
/**
 * Describes a speaker by its type alone: nothing is validated.
 *
 * @param options The address and what else the contract says.
 */
export function defineSpeaker<Value>(options: SpeakerOptions): SpeakerContract<Value, Value>;
export function defineSpeaker(options: SpeakerOptions): SpeakerContract<unknown, unknown> {
  return build("speaker", options);
}

/**
 * Describes a job: a goal in, feedback on the way, a result at the end.
 *
 * @param options The address, the schemas and what else the contract says.
 * @throws {PatchbayError} `invalid`: a bad address, priority or option.
 *
 * @example
 * ```ts
 * import { defineJob } from "@patchbay/core";
 *
 * const Pick = defineJob<{ part: string }, { height: number }, { grams: number }>({
 *   address: "arm/pick",
 * });
 * console.log(Pick.address);
 * ```
 */
export function defineJob<
  Goal extends StandardSchema | undefined = undefined,
  Feedback extends StandardSchema | undefined = undefined,
  Result extends StandardSchema | undefined = undefined,
>(
  options: JobOptions & { goal?: Goal; feedback?: Feedback; result?: Result },
): JobContract<
  InputOf<Goal>,
  OutputOf<Goal>,
  InputOf<Feedback>,
  OutputOf<Feedback>,
  InputOf<Result>,
  OutputOf<Result>
>;
/**
 * Describes a job by its types alone: nothing is validated.
 *
 * @param options The address and what else the contract says.
 */
export function defineJob<Goal, Feedback, Result>(
  options: JobOptions,
): JobContract<Goal, Goal, Feedback, Feedback, Result, Result>;
export function defineJob(
  options: JobOptions,
): JobContract<unknown, unknown, unknown, unknown, unknown, unknown> {
  return build("job", options);
}
