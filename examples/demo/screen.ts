/**
 * The console's screen: a table, a progress bar and the latest events, redrawn in place on a
 * terminal; plain lines elsewhere.
 *
 * @module
 */
import {
  bold,
  count,
  cut,
  cyan,
  dim,
  green,
  left,
  magenta,
  milliseconds,
  red,
  right,
} from "./paint.ts";

/** One line of the table. */
export interface Row {
  /** The address. */
  readonly address: string;
  /** Whether it works now. */
  readonly alive: boolean;
  /** What it is: `shout`, `call`, `job`. */
  readonly pattern: string;
  /** The wire that was chosen. */
  readonly wire: string | undefined;
  /** How many messages came. */
  readonly messages: number;
  /** How many a second now. */
  readonly perSecond: number;
  /** Half of the round trips took at most this, in milliseconds. */
  readonly p50?: number;
  /** 99 % of the round trips took at most this, in milliseconds. */
  readonly p99?: number;
  /** How many were dropped or are missing. */
  readonly drops: number;
}

/** A job's bar. */
export interface Bar {
  /** The job's address. */
  readonly address: string;
  /** 0–1. */
  readonly fraction: number;
  /** What it is doing, or how it ended. */
  readonly note: string;
  /** How it stands. */
  readonly state: "running" | "done" | "lost" | "cancelled";
}

const WIDTH = 78;
const BAR = 36;
const TRACE = 60;
const HEAD = `  ${"endpoint".padEnd(20)}${"pattern".padEnd(8)}${"wire".padEnd(6)}` +
  `${"messages".padStart(8)}${"rate".padStart(8)}${"p50".padStart(10)}` +
  `${"p99".padStart(9)}${"drops".padStart(7)}`;

function line(row: Row): string {
  const duration = (ms: number | undefined, width: number) =>
    right(row.p50 === undefined ? dim("–") : milliseconds(ms), width);
  return `${row.alive ? green("●") : red("○")} ${left(bold(row.address), 20)}` +
    `${left(row.pattern, 8)}${left(row.wire === undefined ? dim("–") : cyan(row.wire), 6)}` +
    `${right(count(row.messages), 8)}${right(`${row.perSecond}/s`, 8)}` +
    `${duration(row.p50, 10)}${duration(row.p99, 9)}` +
    `${right(row.drops === 0 ? green("0") : red(count(row.drops)), 7)}`;
}

const BAR_PAINT = { running: cyan, done: green, lost: red, cancelled: magenta } as const;

function bar({ address, fraction, note, state }: Bar): string {
  const full = Math.round(fraction * BAR);
  const paint = BAR_PAINT[state];
  return `  ${left(bold(address), 15)}${paint("█".repeat(full))}${dim("░".repeat(BAR - full))}` +
    ` ${right(`${Math.round(fraction * 100)} %`, 5)}  ${paint(note)}`;
}

/** One block for each call: its height tells how long it took, a cross that it was refused. */
function trace(calls: readonly (number | undefined)[]): string {
  const blocks = calls.slice(-TRACE).map((ms) =>
    // Each block stands for twice the time of the one before; the lowest for up to 0.25 ms.
    ms === undefined
      ? red("×")
      : cyan("▁▂▃▄▅▆▇█"[Math.min(7, Math.max(0, Math.ceil(Math.log2(ms / 0.25))))])
  );
  return `  ${left(bold("arm/joint"), 15)}${blocks.join("")}`;
}

/** Where the console writes. */
export class Screen {
  readonly #live: boolean = Deno.stdout.isTerminal();
  readonly #startedMs = performance.now();
  readonly #events: string[] = [];
  #drawn = 0;
  #statusMs = 0;

  /** How many seconds it has been there. */
  get seconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  /** Something happened. */
  say(text: string): void {
    const event = `${dim(`${this.seconds.toFixed(2).padStart(6)} s`)}  ${text}`;
    this.#events.push(event);
    if (!this.#live) console.log(event);
  }

  /** Shows how things stand: the table, the last calls (undefined: refused), and the job. */
  draw(
    rows: readonly Row[],
    calls: readonly (number | undefined)[],
    job: Bar | undefined,
  ): void {
    if (!this.#live) return this.#status(rows);
    let size = { columns: 80, rows: 24 };
    try {
      size = Deno.consoleSize();
    } catch {
      // A terminal that does not tell its size gets the usual one.
    }
    const frame = [
      `${bold("Patchbay")}  three processes, no server${right(dim(this.#clock()), WIDTH - 36)}`,
      "",
      dim(HEAD),
      ...rows.map(line),
      "",
      trace(calls),
      job === undefined ? "" : bar(job),
      "",
    ];
    const room = Math.max(0, size.rows - 1 - frame.length);
    frame.push(...this.#events.slice(-Math.min(room, 14)));
    const text = frame.slice(0, size.rows - 1)
      .map((one) => `${cut(one, size.columns - 1)}\x1b[K\n`).join("");
    const up = this.#drawn === 0 ? "" : `\x1b[${this.#drawn}A`;
    this.#write(`\x1b[?25l${up}${text}\x1b[J`);
    this.#drawn = Math.min(frame.length, size.rows - 1);
  }

  /** Shows the table for the last time; what is printed then stays. */
  end(rows: readonly Row[]): void {
    if (this.#live) this.#write("\x1b[?25h");
    else console.log(["", HEAD, ...rows.map(line)].join("\n"));
  }

  /** Without a terminal: one line a second. */
  #status(rows: readonly Row[]): void {
    if (performance.now() - this.#statusMs < 1000) return;
    this.#statusMs = performance.now();
    const parts = rows.filter((row) => row.messages > 0).map((row) =>
      `${row.address} ${row.perSecond}/s${
        row.p50 === undefined ? "" : ` (p50 ${milliseconds(row.p50)})`
      }`
    );
    if (parts.length > 0) console.log(`${this.#clock().padStart(8)}  ${parts.join(", ")}`);
  }

  #clock(): string {
    return `${this.seconds.toFixed(2)} s`;
  }

  #write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    for (let sent = 0; sent < bytes.length;) sent += Deno.stdout.writeSync(bytes.subarray(sent));
  }
}
