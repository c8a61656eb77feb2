/**
 * How a command speaks: values and tables for people, one JSON value a line for programs.
 *
 * @module
 */

import { type Complaint, complaintLine, OutputClosed } from "./complaint.ts";
import type { Io, Sink } from "./io.ts";
import { type Paint, paint } from "./paint.ts";
import { table, type TableOptions } from "./table.ts";
import { jsonLine, showValue } from "./values.ts";

/** Erases the line the cursor is in, and goes to its beginning. */
const ERASE_LINE = "\r\x1b[K";
/** Erases the screen, and goes to its top. */
const ERASE_SCREEN = "\x1b[H\x1b[2J\x1b[3J";

/** How to speak. */
export interface ScreenOptions {
  /** One JSON value a line. */
  json: boolean;
  /** Whether colours are allowed. */
  color: boolean;
}

/** Where a command's output goes. */
export class Screen {
  /** Whether a program reads: one JSON value a line. */
  readonly json: boolean;
  /** The colours of standard output. */
  readonly paint: Paint;
  /** The colours of standard error. */
  readonly errorPaint: Paint;
  /** Aborted when nobody reads the output any longer. */
  readonly closed: AbortSignal;
  readonly #io: Io;
  readonly #closing = new AbortController();
  #status = "";

  /**
   * @param io The streams.
   * @param options How to speak.
   */
  constructor(io: Io, options: ScreenOptions) {
    this.#io = io;
    this.json = options.json;
    this.paint = paint(!options.json && wantsColor(io, io.stdout, options.color));
    this.errorPaint = paint(!options.json && wantsColor(io, io.stderr, options.color));
    this.closed = this.#closing.signal;
  }

  /** How wide standard output is, in characters. */
  get columns(): number {
    return this.#io.stdout.columns;
  }

  /** Whether standard output can be redrawn. */
  get live(): boolean {
    return this.#io.stdout.terminal && !this.json;
  }

  /** Whether a progress bar can be seen. */
  get hasStatus(): boolean {
    return this.#io.stderr.terminal && !this.json;
  }

  /**
   * A line of the result.
   *
   * @param text The line.
   */
  line(text = ""): void {
    this.#write(this.#io.stdout, `${text}\n`);
  }

  /**
   * A table of the result.
   *
   * @param rows Its cells.
   * @param options Its layout.
   */
  table(rows: readonly (readonly string[])[], options: Partial<TableOptions> = {}): void {
    for (const line of this.layout(rows, options)) this.line(line);
  }

  /**
   * The lines of a table as wide as the screen.
   *
   * @param rows Its cells.
   * @param options Its layout.
   */
  layout(rows: readonly (readonly string[])[], options: Partial<TableOptions> = {}): string[] {
    return table(rows, { columns: this.columns, ...options });
  }

  /**
   * A value of the result: JSON on a line of its own for programs, coloured for people.
   *
   * @param value The value.
   */
  value(value: unknown): void {
    this.line(this.json ? jsonLine(value) : this.show(value));
  }

  /**
   * A value, as a person reads it.
   *
   * @param value The value.
   * @param used How much of the line is taken.
   */
  show(value: unknown, used = 0): string {
    return showValue(value, this.paint, Math.max(40, this.columns - used));
  }

  /**
   * A remark for people, on stderr; programs do not get it.
   *
   * @param text The remark.
   */
  note(text: string): void {
    if (!this.json) this.#write(this.#io.stderr, `${this.errorPaint.dim(text)}\n`);
  }

  /**
   * A warning, on stderr.
   *
   * @param complaint What it is about.
   */
  warn(complaint: Pick<Complaint, "message" | "remedy"> & { readonly code?: string }): void {
    const { code, message, remedy } = complaint;
    const text = this.json
      ? jsonLine({ warning: { code, message, remedy } })
      : `${this.errorPaint.yellow("patchbay: warning:")} ${complaintLine(complaint)}`;
    this.#write(this.#io.stderr, `${text}\n`);
  }

  /**
   * The one line that says why the command failed.
   *
   * @param complaint Why.
   */
  fail(complaint: Complaint): void {
    const { exit: _, ...error } = complaint;
    const text = this.json
      ? jsonLine({ error })
      : `${this.errorPaint.red("patchbay:")} ${complaintLine(complaint)}`;
    this.#write(this.#io.stderr, `${text}\n`);
  }

  /**
   * The line at the bottom that is redrawn: a progress bar. Only where {@link hasStatus}.
   *
   * @param text The line; empty takes it away.
   */
  status(text: string): void {
    if (!this.hasStatus || text === this.#status) return;
    this.#status = text;
    this.#io.stderr.write(`${ERASE_LINE}${text}`);
  }

  /** Erases everything, to be drawn anew. Only where {@link live}. */
  clear(): void {
    if (this.live) this.#write(this.#io.stdout, ERASE_SCREEN);
  }

  #write(sink: Sink, text: string): void {
    try {
      // The status line moves down: what is printed goes above it.
      if (this.#status !== "") this.#io.stderr.write(ERASE_LINE);
      sink.write(text);
      if (this.#status !== "") this.#io.stderr.write(this.#status);
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      this.#closing.abort(new OutputClosed("nobody reads the output"));
    }
  }
}

/** The conventions of https://no-color.org and https://force-color.org. */
function wantsColor(io: Io, sink: Sink, allowed: boolean): boolean {
  if (!allowed || io.env("NO_COLOR")) return false;
  const forced = io.env("FORCE_COLOR");
  if (forced !== undefined && forced !== "" && forced !== "0") return true;
  return sink.terminal && io.env("TERM") !== "dumb";
}
