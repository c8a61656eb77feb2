/**
 * Colours, and text of an exact width. `NO_COLOR` is honoured.
 *
 * @module
 */
import * as colors from "@std/fmt/colors.js";

type Paint = (text: string) => string;

// The npm copy of @std/fmt has no types.
/** Whether colours are written at all. */
export const useColour: (on: boolean) => void = colors.setColorEnabled;
/** What matters. */
export const bold: Paint = colors.bold;
/** What matters less. */
export const dim: Paint = colors.dim;
/** What went well. */
export const green: Paint = colors.green;
/** What went wrong. */
export const red: Paint = colors.red;
/** What needs attention. */
export const yellow: Paint = colors.yellow;
/** Names. */
export const cyan: Paint = colors.cyan;
/** What happens by itself. */
export const magenta: Paint = colors.magenta;

const plain: Paint = colors.stripAnsiCode;

/** Pads a painted text on the right to a width in characters. */
export function left(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - [...plain(text)].length));
}

/** Pads a painted text on the left to a width in characters. */
export function right(text: string, width: number): string {
  return " ".repeat(Math.max(0, width - [...plain(text)].length)) + text;
}

/** Cuts a painted text to a width in characters; what is cut loses its colours. */
export function cut(text: string, width: number): string {
  const characters = [...plain(text)];
  return characters.length <= width ? text : characters.slice(0, width - 1).join("") + "…";
}

/** Milliseconds as people read them. */
export function milliseconds(ms: number | undefined): string {
  if (ms === undefined) return "–";
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** A number with thin groups: 1 234. */
export function count(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, " ");
}
