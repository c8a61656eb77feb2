/**
 * Colours, where the reader wants them.
 *
 * @module
 */

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

/** A colour by its SGR codes (ECMA-48, 8.3.117): what begins and what ends it. */
function sgr(begin: number, end: number): Colour {
  // Not those of @std: they look at this process's NO_COLOR, whatever surroundings a program gives.
  return (text) => `\x1b[${begin}m${text}\x1b[${end}m`;
}

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
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  green: sgr(32, 39),
  red: sgr(31, 39),
  yellow: sgr(33, 39),
  cyan: sgr(36, 39),
  magenta: sgr(35, 39),
};

/**
 * The colours, or none.
 *
 * @param enabled Whether colours are wanted.
 */
export function paint(enabled: boolean): Paint {
  return enabled ? COLOURED : PLAIN;
}
