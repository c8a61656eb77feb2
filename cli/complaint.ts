/**
 * What went wrong, as one line on stderr and as an exit code.
 *
 * @module
 */

import type { PatchbayError } from "@patchbay/core";
import { signalCode } from "./io.ts";

/** The exit codes. A program that a signal has ended exits with 128 and the signal's number. */
export const EXIT = {
  /** It did what was asked. */
  ok: 0,
  /** It could not. */
  failure: 1,
  /** The command line could not be understood. */
  usage: 2,
  /** Ctrl-C. */
  interrupted: 130,
  /** Nobody reads the output any longer, as in `patchbay listen … | head`. */
  brokenPipe: 141,
} as const;

/** The command line cannot be understood. */
export class UsageError extends Error {
  /** Always `"UsageError"`. */
  override readonly name = "UsageError";
  /** What to write instead. */
  readonly remedy: string | undefined;

  /**
   * @param message What is wrong.
   * @param options What to write instead.
   */
  constructor(message: string, options: { remedy?: string } = {}) {
    super(message);
    this.remedy = options.remedy;
  }
}

/** A signal has asked the command to end before it was done. */
export class Interrupted extends Error {
  /** Always `"Interrupted"`. */
  override readonly name = "Interrupted";
  /** Which signal. */
  readonly signal: Deno.Signal;

  /**
   * @param signal Which signal.
   * @param message What it has ended.
   */
  constructor(signal: Deno.Signal, message = "interrupted") {
    super(message);
    this.signal = signal;
  }
}

/** Nobody reads the output any longer. */
export class OutputClosed extends Error {
  /** Always `"OutputClosed"`. */
  override readonly name = "OutputClosed";
}

/** What is said about a failure. */
export interface Complaint {
  /** The exit code. */
  readonly exit: number;
  /** One word for programs. */
  readonly code: string;
  /** What happened. */
  readonly message: string;
  /** What to do. */
  readonly remedy?: string;
  /** Facts for programs. */
  readonly details?: Record<string, unknown>;
  /** The address it was about. */
  readonly address?: string;
  /** The wire it happened on. */
  readonly transport?: string;
}

/**
 * Whether something thrown is Patchbay's. Told by its name: core is not loaded just to fail, and a
 * project's plugin may have a copy of its own.
 */
function isPatchbayError(error: unknown): error is PatchbayError {
  return error instanceof Error && error.name === "PatchbayError";
}

/**
 * What to say about something that was thrown.
 *
 * @param error What was thrown.
 */
export function complaintOf(error: unknown): Complaint {
  if (isPatchbayError(error)) {
    const { code, details, address, transport } = error;
    // What a handler threw says nothing about where.
    const where = code === "remote" && address !== undefined ? `${address}: ` : "";
    const remedy = error.remedy?.replace("pass a longer timeoutMs", "a longer --timeout");
    const message = `${where}${error.message}`;
    return { exit: EXIT.failure, code, message, remedy, details, address, transport };
  }
  if (error instanceof UsageError) {
    const { message, remedy } = error;
    return { exit: EXIT.usage, code: "usage", message, remedy };
  }
  if (error instanceof Interrupted) {
    return { exit: signalCode(error.signal), code: "interrupted", message: error.message };
  }
  return {
    exit: EXIT.failure,
    code: "internal",
    message: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
    remedy: "PATCHBAY_DEBUG=1 shows where; please report it",
  };
}

/**
 * A complaint as one line: what happened, and what to try.
 *
 * @param complaint The complaint.
 */
export function complaintLine({ message, remedy }: Pick<Complaint, "message" | "remedy">): string {
  const said = oneLine(message).replace(/\.$/, "");
  if (remedy === undefined) return said;
  const advice = oneLine(remedy);
  if (advice.endsWith("?")) return `${said}. ${advice[0].toUpperCase()}${advice.slice(1)}`;
  return `${said}. Try: ${advice}`;
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}
