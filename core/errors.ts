/**
 * The one error class of Patchbay, its codes, and its form on the wire.
 *
 * @module
 */

/** What went wrong, in one word. Every failure of every wire is one of these. */
export type ErrorCode =
  /** The wire, plugin or resource cannot be used here; `remedy` says what to do. */
  | "unavailable"
  /** Nobody serves the address, or the thing asked for does not exist. */
  | "not_found"
  /** The other side or this side was closed, or the connection was lost, before the answer came. */
  | "closed"
  /** The deadline passed before the answer came. */
  | "deadline_exceeded"
  /** The message is larger than the limit; `details` holds `size` and `max`. */
  | "too_large"
  /** The value, address, option or configuration is not acceptable; the message names the path. */
  | "invalid"
  /** The bytes on the wire do not follow the protocol, or the versions do not meet. */
  | "protocol"
  /** A bounded queue or a limit of calls at once is full. */
  | "overloaded"
  /** The peer did not say who it is, or could not prove it. */
  | "unauthenticated"
  /** The peer is known but may not do this. */
  | "forbidden"
  /** The handler on the other side threw; the message is the handler's. */
  | "remote"
  /** A defect in Patchbay or a plugin. */
  | "internal";

/** Every code, in the order of the documentation. */
export const ERROR_CODES: readonly ErrorCode[] = [
  "unavailable",
  "not_found",
  "closed",
  "deadline_exceeded",
  "too_large",
  "invalid",
  "protocol",
  "overloaded",
  "unauthenticated",
  "forbidden",
  "remote",
  "internal",
];

/** The three patterns. */
export type Pattern = "callable" | "speaker" | "job";

/** What an error may carry besides its code and message. */
export interface PatchbayErrorOptions {
  /** The pattern in use when it happened. */
  pattern?: Pattern;
  /** The wire it happened on, by plugin name. */
  transport?: string;
  /** The address it was about. */
  address?: string;
  /** Facts for programs: sizes, limits, the path inside a bad value. Must be plain JSON. */
  details?: Record<string, unknown>;
  /** Whether the same operation may succeed if it is simply tried again. Default: by code. */
  retryable?: boolean;
  /** What the reader can do about it: a command to run, a flag to pass, a setting to change. */
  remedy?: string;
  /** The error below this one. It never crosses a wire. */
  cause?: unknown;
}

/** The form of an error on a wire: plain JSON, without stack and cause. */
export interface WireError {
  /** One of {@link ErrorCode}; an unknown code is read as `internal`. */
  code: string;
  /** The message. */
  message: string;
  /** As {@link PatchbayErrorOptions.details}. */
  details?: Record<string, unknown>;
  /** As {@link PatchbayErrorOptions.retryable}. */
  retryable?: boolean;
  /** As {@link PatchbayErrorOptions.remedy}. */
  remedy?: string;
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set(["unavailable", "closed", "overloaded"]);
const KNOWN: ReadonlySet<string> = new Set(ERROR_CODES);

/** What to do about an error that says nothing better itself. */
const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  closed: "try again: the wire connects anew by itself if the module is there; see patchbay list",
  protocol: "check that both sides speak Patchbay, in versions that meet",
  remote: "look at the server: its handler threw this",
  internal: "report this message as a defect",
};

/**
 * Every failure that Patchbay reports.
 *
 * `code` is for programs, `message` for people, `remedy` says what to do about it.
 * An aborted operation is the one exception: it rejects with the signal's own reason.
 *
 * @example
 * ```ts
 * import { PatchbayError } from "@patchbay/core";
 *
 * const error = new PatchbayError("too_large", "the message has 11 bytes, the limit is 10", {
 *   address: "camera/frame",
 *   details: { size: 11, max: 10 },
 * });
 * if (error.code !== "too_large" || error.retryable) throw new Error("unexpected");
 * ```
 */
export class PatchbayError extends Error {
  /** Always `"PatchbayError"`. */
  override readonly name = "PatchbayError";
  /** What went wrong, in one word. */
  readonly code: ErrorCode;
  /** The pattern in use when it happened. */
  readonly pattern?: Pattern;
  /** The wire it happened on, by plugin name. */
  readonly transport?: string;
  /** The address it was about. */
  readonly address?: string;
  /** Facts for programs. */
  readonly details?: Record<string, unknown>;
  /** Whether the same operation may succeed if it is simply tried again. */
  readonly retryable: boolean;
  /** What the reader can do about it. */
  readonly remedy?: string;

  /**
   * Makes an error; nothing is sent or counted by that.
   *
   * @param code What went wrong, in one word.
   * @param message What happened, to what, in one sentence.
   * @param options Everything else that is known.
   */
  constructor(code: ErrorCode, message: string, options: PatchbayErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.pattern = options.pattern;
    this.transport = options.transport;
    this.address = options.address;
    this.details = options.details;
    this.retryable = options.retryable ?? RETRYABLE.has(code);
    this.remedy = options.remedy ?? REMEDIES[code];
  }

  /**
   * The same error with facts filled in that the thrower did not know; facts it knew stay.
   *
   * @param known What the catcher knows.
   */
  with(known: Pick<PatchbayErrorOptions, "pattern" | "transport" | "address">): PatchbayError {
    const error = new PatchbayError(this.code, this.message, {
      pattern: this.pattern ?? known.pattern,
      transport: this.transport ?? known.transport,
      address: this.address ?? known.address,
      details: this.details,
      retryable: this.retryable,
      remedy: this.remedy,
      ...(this.cause === undefined ? {} : { cause: this.cause }),
    });
    error.stack = this.stack;
    return error;
  }

  /** The form that crosses a wire: no stack, no cause. */
  toWire(): WireError {
    const wire: WireError = { code: this.code, message: this.message };
    if (this.details !== undefined) wire.details = this.details;
    if (this.retryable !== RETRYABLE.has(this.code)) wire.retryable = this.retryable;
    if (this.remedy !== REMEDIES[this.code]) wire.remedy = this.remedy;
    return wire;
  }

  /**
   * Reads an error that came over a wire. Never throws: what cannot be read becomes `internal`.
   *
   * @param wire What the other side sent.
   * @param known What this side knows about it.
   */
  static fromWire(
    wire: unknown,
    known: Pick<PatchbayErrorOptions, "pattern" | "transport" | "address"> = {},
  ): PatchbayError {
    const w = (typeof wire === "object" && wire !== null ? wire : {}) as Partial<WireError>;
    const code = typeof w.code === "string" && KNOWN.has(w.code) ? w.code as ErrorCode : "internal";
    const message = typeof w.message === "string" ? w.message : "the peer sent an unreadable error";
    return new PatchbayError(code, message, {
      ...known,
      details: typeof w.details === "object" && w.details !== null ? w.details : undefined,
      retryable: typeof w.retryable === "boolean" ? w.retryable : undefined,
      remedy: typeof w.remedy === "string" ? w.remedy : undefined,
    });
  }

  /**
   * What a handler threw, as the error its caller will see: message and code, never the stack.
   * A `PatchbayError` keeps its code; anything else becomes `remote`, with the thrown error's
   * own name and code in `details`.
   *
   * @param thrown What was thrown.
   */
  static fromThrown(thrown: unknown): PatchbayError {
    if (thrown instanceof PatchbayError) return thrown;
    if (thrown instanceof Error) {
      const details: Record<string, unknown> = { name: thrown.name };
      const code = (thrown as { code?: unknown }).code;
      if (typeof code === "string" || typeof code === "number") details.code = code;
      return new PatchbayError("remote", thrown.message || thrown.name, { details, cause: thrown });
    }
    return new PatchbayError("remote", describe(thrown), { cause: thrown });
  }
}

/** A thrown value as text. It may be anything, even an object that has no text. */
function describe(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return `something of type ${typeof thrown} was thrown`;
  }
}
