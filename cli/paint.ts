/**
 * Colours, where the reader wants them.
 *
 * @module
 */

// The npm copy of @std has no types.
import * as untyped from "@std/fmt/colors.js";

/** Colours a text. */
export type Colour = (text: string) => string;

/** The colours in use: each the identity where the output is to be plain. */
export interface Paint {
  /** Whether there are colours at all. */
  readonly enabled: boolean;
  /** For names and headings. */
  readonly bold: Colour;
  /** For what matters less. */
  readonly dim: Colour;
  /** For what works. */
  readonly green: Colour;
  /** For what does not. */
  readonly red: Colour;
  /** For warnings and remedies. */
  readonly yellow: Colour;
  /** For addresses and words to type. */
  readonly cyan: Colour;
  /** For numbers and other values. */
  readonly magenta: Colour;
}

const colors: Omit<Paint, "enabled"> = untyped;
const same: Colour = (text) => text;

const PLAIN: Paint = {
  enabled: false,
  bold: same,
  dim: same,
  green: same,
  red: same,
  yellow: same,
  cyan: same,
  magenta: same,
};
const COLOURED: Paint = {
  enabled: true,
  bold: colors.bold,
  dim: colors.dim,
  green: colors.green,
  red: colors.red,
  yellow: colors.yellow,
  cyan: colors.cyan,
  magenta: colors.magenta,
};

/**
 * The colours, or none.
 *
 * @param enabled Whether colours are wanted.
 */
export function paint(enabled: boolean): Paint {
  return enabled ? COLOURED : PLAIN;
}
