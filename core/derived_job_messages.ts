/**
 * The messages of derived jobs and their addresses: written and read in this one file.
 *
 * @module
 */

import { PatchbayError, type WireError } from "./errors.ts";

/** One feedback value or progress report, with its number. */
export type Report =
  & { readonly sequence: number }
  & ({ readonly value: unknown } | { readonly progress: number });

/** How a job ended. */
export type Ending =
  | { readonly ok: true; readonly value?: unknown }
  | { readonly ok: false; readonly error: WireError };

/** What `result` answers. */
export interface Answer {
  /** The number of the last report. */
  readonly last: number;
  /** Reports that were asked for again, in order. */
  readonly missed?: readonly Report[];
  /** How the job ended; absent while it runs. */
  readonly ended?: Ending;
}

/** What `result` is asked with. */
export interface Question {
  /** The job. */
  readonly id: string;
  /** How long the answer may wait for the end, in milliseconds. */
  readonly waitMs: number;
  /** Which reports to send again: those behind this number. */
  readonly after?: number;
}

/** The most reports that one answer holds: 256 large ones might exceed the largest message. */
export const MAX_MISSED = 32;

/** Where `goal`, `cancel` and `result` are, unless the goal's answer says otherwise. */
export function jobBase(address: string): string {
  return `${address}/_job`;
}

const GOAL = "/_job/goal";

/** Where goals are sent. */
export function goalAddress(address: string): string {
  return `${jobBase(address)}/goal`;
}

/** Where feedback is shouted. */
export function feedbackAddress(address: string): string {
  return `${jobBase(address)}/feedback`;
}

/** Whether an address is one of those that a job is made of. */
export function isJobPart(address: string): boolean {
  return address.includes("/_job/");
}

/** The job whose goals are sent to an address; `undefined`: none. */
export function jobOfGoals(address: string): string | undefined {
  return address.endsWith(GOAL) ? address.slice(0, -GOAL.length) : undefined;
}

/** The codec for messages around a job's values: bare bytes cannot be put into a message. */
export function messageCodec(codec: string | undefined): string | undefined {
  return codec === "raw" ? undefined : codec;
}

const ID = /^[0-9a-f]{32}$/;

function refuse(what: string, why: string): never {
  throw new PatchbayError("invalid", `${what}: ${why}`, {
    remedy: "see the messages of derived jobs in core/derived_job.ts",
  });
}

function fields(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) refuse(what, "it is no object");
  return value as Record<string, unknown>;
}

function readId(id: unknown, what: string): string {
  if (typeof id !== "string" || !ID.test(id)) refuse(what, "id is not 32 hexadecimal digits");
  return id;
}

function readCount(n: unknown, what: string): number {
  if (typeof n !== "number" || !(n >= 0)) refuse(what, "it is no number from 0 on");
  return n;
}

/** @throws {PatchbayError} `invalid`. */
export function readGoal(value: unknown): { readonly id: string; readonly goal: unknown } {
  const { id, goal } = fields(value, "goal");
  return { id: readId(id, "goal"), goal };
}

/** @throws {PatchbayError} `invalid`. */
export function readCancel(
  value: unknown,
): { readonly id: string; readonly reason: string | undefined; readonly abandon: boolean } {
  const { id, reason, abandon } = fields(value, "cancel");
  return {
    id: readId(id, "cancel"),
    reason: typeof reason === "string" ? reason : undefined,
    abandon: abandon === true,
  };
}

/** @throws {PatchbayError} `invalid`. */
export function readQuestion(value: unknown): Question {
  const { id, waitMs, after } = fields(value, "result");
  return {
    id: readId(id, "result"),
    waitMs: readCount(waitMs ?? 0, "result.waitMs"),
    after: after === undefined || after === null ? undefined : readCount(after, "result.after"),
  };
}

/** @throws {PatchbayError} `invalid`. */
export function readReport(value: unknown): Report {
  const { sequence, progress, value: inner } = fields(value, "feedback");
  const number = readCount(sequence, "feedback.sequence");
  return typeof progress === "number"
    ? { sequence: number, progress }
    : { sequence: number, value: inner };
}

/** The job that a feedback message is about; `undefined` if it does not say. */
export function jobOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { id } = value as { id?: unknown };
  return typeof id === "string" ? id : undefined;
}

/** @throws {PatchbayError} `invalid`. */
export function readAnswer(value: unknown): Answer {
  const { last, missed, ended } = fields(value, "the result's answer");
  return {
    last: readCount(last, "the result's last"),
    missed: Array.isArray(missed) ? missed.map(readReport) : [],
    ended: ended === undefined || ended === null ? undefined : readEnding(ended),
  };
}

function readEnding(value: unknown): Ending {
  const { ok, value: inner, error } = fields(value, "the result's end");
  return ok === true ? { ok, value: inner } : { ok: false, error: error as WireError };
}

/** The base address in a goal's answer. */
export function readBase(value: unknown, address: string): string {
  if (typeof value !== "object" || value === null) return jobBase(address);
  const { at } = value as { at?: unknown };
  return typeof at === "string" ? at : jobBase(address);
}

/** An error of one of the messages, told as one of the job. */
export function aboutJob(thrown: unknown, address: string): PatchbayError {
  const error = PatchbayError.fromThrown(thrown);
  return new PatchbayError(error.code, error.message, {
    pattern: "job",
    transport: error.transport,
    address,
    details: error.details,
    retryable: error.retryable,
    remedy: error.remedy,
    cause: error.cause,
  });
}
