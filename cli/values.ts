/**
 * Values on the command line: read from JSON, printed as JSON. Bytes and bigints, which JSON lacks,
 * are written as `{"$bytes": "<base64>"}` and `{"$bigint": "<digits>"}`, both ways.
 *
 * @module
 */

import type { Paint } from "./paint.ts";
import { UsageError } from "./complaint.ts";

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const keys = Object.keys(value);
  if (keys.length !== 1) return value;
  const { $bytes, $bigint } = value as { $bytes?: unknown; $bigint?: unknown };
  if (typeof $bytes === "string") {
    try {
      return Uint8Array.from(atob($bytes), (character) => character.charCodeAt(0));
    } catch {
      throw new UsageError(`$bytes must be base64, not ${JSON.stringify($bytes)}`, {
        remedy: 'write bytes as {"$bytes": "aGVsbG8="}',
      });
    }
  }
  return typeof $bigint === "string" && /^-?\d+$/.test($bigint) ? BigInt($bigint) : value;
}

function replace(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (value instanceof Uint8Array) {
    const parts: string[] = [];
    for (let at = 0; at < value.length; at += 0x8000) {
      parts.push(String.fromCharCode(...value.subarray(at, at + 0x8000)));
    }
    return { $bytes: btoa(parts.join("")) };
  }
  return value;
}

/** What a text that is not JSON was probably meant to be. */
function guess(text: string): string | undefined {
  const attempts = [
    text.replaceAll("'", '"'),
    text.replace(/([{,]\s*)([A-Za-z_$][\w$]*)\s*:/g, '$1"$2":'),
    text.replaceAll("'", '"').replace(/([{,]\s*)([A-Za-z_$][\w$]*)\s*:/g, '$1"$2":'),
    text.replace(/,(\s*[}\]])/g, "$1"),
  ];
  for (const attempt of attempts) {
    try {
      return JSON.stringify(JSON.parse(attempt));
    } catch {
      // Not that either.
    }
  }
  return /[{}[\]"]/.test(text) ? undefined : JSON.stringify(text);
}

/**
 * Reads a value from the command line.
 *
 * @param text JSON.
 * @param what What it is called in the complaint: `request`, `goal`.
 * @throws {UsageError} It is not JSON; the remedy says what to write instead.
 */
export function readValue(text: string, what: string): unknown {
  try {
    return JSON.parse(text, revive);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const shown = text.length > 60 ? `${text.slice(0, 57)}…` : text;
    const meant = guess(text.trim());
    throw new UsageError(`the ${what} is not JSON: ${shown.replaceAll("\n", " ")}`, {
      remedy: meant === undefined
        ? "correct it, or pass it on standard input with -"
        : `'${meant.replaceAll("'", `'\\''`)}'`,
    });
  }
}

/** A value as one line of JSON. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value, replace) ?? "null";
}

const TOKENS =
  /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/**
 * A value for a person: JSON on one line if it fits, else indented, coloured.
 *
 * @param value The value.
 * @param paint The colours.
 * @param columns How wide a line may be.
 */
export function showValue(value: unknown, paint: Paint, columns: number): string {
  let text = jsonLine(value);
  if (text.length > columns) text = JSON.stringify(value, replace, 2) ?? "null";
  else if (typeof value === "object" && value !== null) text = spaced(text);
  if (!paint.enabled) return text;
  return text.replace(TOKENS, (token, string?: string, colon?: string) => {
    if (string === undefined) return paint.magenta(token);
    return colon === undefined ? paint.green(token) : `${paint.cyan(string)}${colon}`;
  });
}

/** One line of JSON with room after its commas and colons. */
function spaced(text: string): string {
  return text.replace(/("(?:[^"\\]|\\.)*")|([,:])/g, (_, string, mark) => string ?? `${mark} `);
}
