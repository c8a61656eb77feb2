/**
 * Portable values: what every wire can carry, the check that names what is not, and the freeze
 * that keeps a value passed by reference from being changed.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

/**
 * A value that every wire can carry.
 *
 * Only own enumerable string keys belong to an object; a property that is `undefined` counts as
 * absent. The key `__proto__` is never portable: assigning it elsewhere would change a prototype.
 * Bytes and bigint need MessagePack or a wire by reference; JSON refuses them.
 */
export type Portable =
  | null
  | boolean
  | number
  | string
  | bigint
  | Uint8Array
  | readonly Portable[]
  | { readonly [key: string]: Portable | undefined };

/** What one encoding cannot carry, on top of what no wire can. */
export interface PortableRules {
  /** Whether bytes may occur. Default true. */
  bytes?: boolean;
  /** Which bigints may occur; `int64` means −2⁶³ to 2⁶⁴ − 1. Default `any`. */
  bigint?: "any" | "int64" | "none";
  /** Whether every string and key must be well-formed UTF-16 (no lone surrogate). Default false. */
  wellFormed?: boolean;
}

/** The deepest nesting of arrays and objects that is portable. */
export const MAX_DEPTH = 128;

/**
 * Whether an object is plain: its prototype is `null`, `Object.prototype`, or the
 * `Object.prototype` of another realm (an iframe, a `node:vm` context).
 *
 * @param value An object that is neither `null` nor an array.
 *
 * @example
 * ```ts
 * import { isPlainObject } from "@patchbay/core";
 *
 * if (!isPlainObject({ a: 1 }) || isPlainObject(new Map())) throw new Error("unexpected");
 * ```
 */
export function isPlainObject(value: object): value is Record<string, unknown> {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "hasOwnProperty"));
}

/**
 * Refuses a value that is not portable, naming the path inside it.
 *
 * A top-level `undefined` passes: it is what a handler without a result returns. Nesting is
 * limited to {@link MAX_DEPTH} and cycles are found, so no value overflows the stack.
 *
 * @param value What is about to cross a wire.
 * @param what The name of the value, with which the path begins: `request`, `result`, `feedback`.
 * @param rules What the encoding in use cannot carry.
 * @throws {PatchbayError} `invalid`, with the path in the message and in `details.path`.
 *
 * @example
 * ```ts
 * import { checkPortable, PatchbayError } from "@patchbay/core";
 *
 * checkPortable({ pose: { joints: [0, 1.5] } }, "request");
 * try {
 *   checkPortable({ pose: { joints: [0, NaN] } }, "request");
 *   throw new Error("unexpected");
 * } catch (error) {
 *   if (!(error instanceof PatchbayError)) throw error;
 *   if (error.details?.path !== "request.pose.joints[1]") throw error;
 * }
 * ```
 */
export function checkPortable(value: unknown, what: string, rules: PortableRules = {}): void {
  if (value !== undefined) check(value, { what, rules, keys: [], ancestors: [] });
}

/** Where a check is: the keys walked so far, and the containers they were read from. */
interface Walk {
  readonly what: string;
  readonly rules: PortableRules;
  readonly keys: (string | number)[];
  readonly ancestors: object[];
}

function check(value: unknown, walk: Walk): void {
  const { rules } = walk;
  switch (typeof value) {
    case "boolean":
      return;
    case "number":
      if (!Number.isFinite(value)) refuse(walk, `${value}`, "only finite numbers are portable");
      return;
    case "string":
      if (rules.wellFormed && !value.isWellFormed()) {
        refuse(walk, "a string with a lone surrogate", "this encoding cannot carry it");
      }
      return;
    case "bigint":
      if (rules.bigint === "none") {
        refuse(walk, "a bigint", "JSON cannot carry it; use MessagePack, or send a string");
      }
      if (rules.bigint === "int64" && (value < -(2n ** 63n) || value >= 2n ** 64n)) {
        refuse(walk, "a bigint of more than 64 bits", "send it as a string or as bytes");
      }
      return;
    case "object":
      if (value === null) return;
      if (value instanceof Uint8Array) {
        if (rules.bytes === false) {
          refuse(walk, "bytes (Uint8Array)", "JSON cannot carry them; use MessagePack or raw");
        }
        return;
      }
      return checkContainer(value, walk);
    case "undefined":
      refuse(walk, "undefined", "an array must hold null or a value at every index");
      break;
    default:
      refuse(walk, `a ${typeof value}`, "it is not portable");
  }
}

function checkContainer(value: object, walk: Walk): void {
  const { keys, ancestors } = walk;
  const isArray = Array.isArray(value);
  if (!isArray && !isPlainObject(value)) {
    refuse(walk, `a ${nameOf(value)}`, "only plain objects, arrays and Uint8Array are portable");
  }
  const cycle = ancestors.indexOf(value);
  if (cycle >= 0) {
    refuse(walk, "a cycle", `it is the same object as ${pathOf(walk, cycle)}`);
  }
  if (ancestors.length >= MAX_DEPTH) {
    refuse(walk, `a value nested deeper than ${MAX_DEPTH}`, "flatten it");
  }
  ancestors.push(value);
  if (isArray) {
    for (let index = 0; index < value.length; index++) {
      keys.push(index);
      check(value[index], walk);
      keys.pop();
    }
  } else {
    for (const key of Object.keys(value)) {
      const property = (value as Record<string, unknown>)[key];
      keys.push(key);
      if (key === "__proto__") refuse(walk, "the key __proto__", "rename it");
      if (walk.rules.wellFormed && !key.isWellFormed()) {
        refuse(walk, "a key with a lone surrogate", "this encoding cannot carry it");
      }
      if (property !== undefined) check(property, walk);
      keys.pop();
    }
  }
  ancestors.pop();
}

function refuse(walk: Walk, found: string, why: string): never {
  const path = pathOf(walk, walk.keys.length);
  throw new PatchbayError("invalid", `${path} is ${found}: ${why}`, { details: { path } });
}

function pathOf(walk: Walk, depth: number): string {
  let path = walk.what;
  for (const key of walk.keys.slice(0, depth)) {
    if (typeof key === "number") path += `[${key}]`;
    else {path += /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u.test(key)
        ? `.${key}`
        : `[${quoted(key)}]`;}
  }
  return path;
}

function quoted(key: string): string {
  return JSON.stringify(key.length > 64 ? `${key.slice(0, 64)}…` : key);
}

function nameOf(value: object): string {
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === "string" && name !== "" ? name : "class instance";
}

/**
 * Freezes a value and everything in it, so that a receiver by reference cannot change it.
 *
 * Typed arrays cannot be frozen and stay writable. A value with cycles is frozen once.
 *
 * @param value Any value; what is not an object is returned as it is.
 * @returns The same value.
 *
 * @example
 * ```ts
 * import { deepFreeze } from "@patchbay/core";
 *
 * const pose = deepFreeze({ joints: [0, 1.5] });
 * if (!Object.isFrozen(pose.joints)) throw new Error("unexpected");
 * ```
 */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  const seen = new Set<object>([value]);
  for (const object of seen) {
    if (ArrayBuffer.isView(object)) continue;
    Object.freeze(object);
    for (const key of Object.keys(object)) {
      const inner = (object as Record<string, unknown>)[key];
      if (typeof inner === "object" && inner !== null) seen.add(inner);
    }
  }
  return value;
}
