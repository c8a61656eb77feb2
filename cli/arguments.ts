/**
 * What the parser turns option texts into.
 *
 * @module
 */

import { InvalidArgumentError } from "commander";

/**
 * A list: given several times, or with commas.
 *
 * @param text The option's text.
 * @param before What was given so far.
 */
export function list(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(",").map((item) => item.trim()).filter((item) => item !== "")];
}

/**
 * A whole number from 1.
 *
 * @param text The option's text.
 */
export function count(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError("It must be a whole number from 1.");
}

/**
 * A number above 0.
 *
 * @param text The option's text.
 */
export function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("It must be a number above 0.");
}

/**
 * Headers: `name=value`, given several times.
 *
 * @param text The option's text.
 * @param before What was given so far.
 */
export function headers(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Write name=value.");
  return { ...before, [text.slice(0, at).toLowerCase()]: text.slice(at + 1) };
}

/**
 * A TCP port; 0 takes a free one.
 *
 * @param text What was given.
 */
export function port(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number <= 65_535) return number;
  throw new InvalidArgumentError("It must be a port, 0 to 65535.");
}
