/**
 * What a suite reports: figures beside their floors and targets, and how they are printed.
 *
 * @module
 */

/** What a figure must be. */
export interface Target {
  /** Ours at least this. */
  readonly atLeast?: number;
  /** Ours at most this. */
  readonly atMost?: number;
  /** Ours at least this many times the floor. */
  readonly ratioAtLeast?: number;
  /** Ours at most this many times the floor. */
  readonly ratioAtMost?: number;
}

/** What one side of a comparison came to: medians over the rounds. */
export interface Side {
  /** The figure itself, in the row's unit. */
  readonly value: number;
  /** User and system time for one operation, in µs: this process, then the other one. */
  readonly cpuMicros?: readonly number[];
  /** The highest resident memory during a round, in MB: this process, then the other one. */
  readonly peakMb?: readonly number[];
}

/** A figure's unit: times are shown with a fitting prefix. */
export type Unit = "ns" | "/s" | "B" | "B/s" | "count";

/** One figure. */
export interface Row {
  /** What was measured. */
  readonly figure: string;
  /** Its unit. */
  readonly unit: Unit;
  /** Patchbay. */
  readonly ours: Side;
  /** What it is compared with. */
  readonly floor?: Side;
  /** What that is. */
  readonly floorName?: string;
  /** Ours divided by the floor: the median over the rounds, each of which measured both. */
  readonly ratio?: number;
  /** What it must be. */
  readonly target?: Target;
}

/** What one suite came to at one placement. */
export interface Result {
  /** The suite's name. */
  readonly suite: string;
  /** Where its processes ran. */
  readonly placement: string;
  /** Its figures. */
  readonly rows: readonly Row[];
}

/** Whether a row meets its target; `undefined` if it has none. */
export function isMet({ target, ours, ratio }: Row): boolean | undefined {
  if (target === undefined) return undefined;
  const { atLeast, atMost, ratioAtLeast, ratioAtMost } = target;
  return (atLeast === undefined || ours.value >= atLeast) &&
    (atMost === undefined || ours.value <= atMost) &&
    (ratioAtLeast === undefined || (ratio !== undefined && ratio >= ratioAtLeast)) &&
    (ratioAtMost === undefined || (ratio !== undefined && ratio <= ratioAtMost));
}

function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100 || size === 0) return value.toFixed(0);
  return size >= 10 ? value.toFixed(1) : value.toFixed(size >= 0.1 ? 2 : 3);
}

/** A value with its unit, such as `12.3 µs` or `1.41 M/s`. */
export function withUnit(value: number, unit: Unit): string {
  if (unit === "ns") {
    if (Math.abs(value) < 1000) return `${short(value)} ns`;
    return value < 1e6 ? `${short(value / 1e3)} µs` : `${short(value / 1e6)} ms`;
  }
  if (unit === "/s") {
    if (value < 1000) return `${short(value)} /s`;
    return value < 1e6 ? `${short(value / 1e3)} k/s` : `${short(value / 1e6)} M/s`;
  }
  if (unit === "B/s") return `${short(value / 1e9)} GB/s`;
  if (unit === "B") {
    return Math.abs(value) < 1000 ? `${short(value)} B` : `${short(value / 1e3)} KB`;
  }
  return short(value);
}

function targetText({ target, unit }: Row): string {
  if (target === undefined) return "";
  const parts: string[] = [];
  if (target.atMost !== undefined) parts.push(`≤ ${withUnit(target.atMost, unit)}`);
  if (target.atLeast !== undefined) parts.push(`≥ ${withUnit(target.atLeast, unit)}`);
  if (target.ratioAtMost !== undefined) parts.push(`≤ ${target.ratioAtMost} ×`);
  if (target.ratioAtLeast !== undefined) parts.push(`≥ ${target.ratioAtLeast} ×`);
  return parts.join(", ");
}

function both(numbers: readonly number[] | undefined, show: (n: number) => string): string {
  return numbers === undefined ? "" : numbers.map(show).join(" + ");
}

function sides(row: Row, pick: (side: Side) => string): string {
  const ours = pick(row.ours);
  const floor = row.floor === undefined ? "" : pick(row.floor);
  return floor === "" ? ours : `${ours} (${floor})`;
}

const HEAD = ["figure", "ours", "floor", "ratio", "target", "met", "CPU an operation", "peak MB"];

/** The cells of a suite's table, its head first. */
export function cells(rows: readonly Row[]): string[][] {
  const body = rows.map((row) => [
    row.figure,
    withUnit(row.ours.value, row.unit),
    row.floor === undefined ? "" : `${withUnit(row.floor.value, row.unit)}, ${row.floorName}`,
    row.ratio === undefined ? "" : row.ratio.toFixed(2),
    targetText(row),
    { true: "yes", false: "NO", undefined: "" }[String(isMet(row))] ?? "",
    sides(row, (side) => both(side.cpuMicros, (micros) => withUnit(micros * 1000, "ns"))),
    sides(row, (side) => both(side.peakMb, (mb) => mb.toFixed(0))),
  ]);
  return [HEAD, ...body];
}

/** A table for the terminal; columns that are empty throughout are left out. */
export function textTable(rows: readonly Row[]): string {
  const table = cells(rows);
  const used = HEAD.map((_, column) => table.slice(1).some((line) => line[column] !== ""));
  const widths = HEAD.map((_, column) => Math.max(...table.map((line) => line[column].length)));
  return table.map((line) =>
    line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])
    )
      .filter((_, column) => used[column]).join("  ")
  ).join("\n");
}

/** The same as Markdown. */
export function markdownTable(rows: readonly Row[]): string {
  const table = cells(rows);
  const used = HEAD.map((_, column) => table.slice(1).some((line) => line[column] !== ""));
  const lines = table.map((line) => `| ${line.filter((_, column) => used[column]).join(" | ")} |`);
  lines.splice(1, 0, `|${used.filter(Boolean).map(() => " --- |").join("")}`);
  return lines.join("\n");
}
