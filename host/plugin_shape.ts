/**
 * Whether a value has the shape of a plugin, and if not, what is wrong with it in words.
 *
 * @module
 */

import type { Plugin } from "@patchbay/core";

type Check = (value: unknown) => boolean;

const isBoolean: Check = (value) => typeof value === "boolean";
const isFunction: Check = (value) => typeof value === "function";
const isOneOf = (...allowed: readonly unknown[]): Check => (value) => allowed.includes(value);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** What each field must be: the test, and the words for it. */
const FIELDS: readonly (readonly [path: string, check: Check, must: string])[] = [
  [
    "name",
    (v) => typeof v === "string" && /^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/.test(v) && v.length <= 64,
    "must be a snake_case string",
  ],
  ["summary", (v) => typeof v === "string" && v !== "", "must be a sentence"],
  ["capabilities", isRecord, "must be an object"],
  ["capabilities.callable", isBoolean, "must be true or false"],
  ["capabilities.speaker", isBoolean, "must be true or false"],
  ["capabilities.job", isBoolean, "must be true or false"],
  ["scope", isOneOf("process", "host", "network"), "must be process, host or network"],
  ["rank", Number.isFinite, "must be a number"],
  ["traits", isRecord, "must be an object"],
  ["traits.ordered", isBoolean, "must be true or false"],
  [
    "traits.delivery",
    isOneOf("at_most_once", "at_least_once"),
    "must be at_most_once or at_least_once",
  ],
  ["traits.retained", isBoolean, "must be true or false"],
  ["traits.headers", isBoolean, "must be true or false"],
  ["traits.job", isOneOf("native", "derived", "none"), "must be native, derived or none"],
  ["traits.maxPayloadBytes", (v) => typeof v === "number" && v > 0, "must be a number above 0"],
  ["traits.zeroCopy", isBoolean, "must be true or false"],
  ["traits.values", isBoolean, "must be true or false"],
  ["traits.backpressure", isBoolean, "must be true or false"],
  ["traits.noticesDeath", isBoolean, "must be true or false"],
  [
    "defaultMaxMessageBytes",
    (v) => v === undefined || (typeof v === "number" && v > 0),
    "must be a number above 0, or absent",
  ],
  [
    "config",
    (v) => {
      // A Standard Schema may be a function (arktype) or an object (zod, valibot, configSchema).
      const standard = isRecord(v) || typeof v === "function"
        ? (v as Record<string, unknown>)["~standard"]
        : undefined;
      return isRecord(standard) && standard.version === 1 && isFunction(standard.validate);
    },
    "must be a Standard Schema (version 1), such as configSchema() gives",
  ],
  ["permissions", (v) => v === undefined || isFunction(v), "must be a function, or absent"],
  ["available", isFunction, "must be a function"],
  ["leftovers", (v) => v === undefined || isFunction(v), "must be a function, or absent"],
  ["open", isFunction, "must be a function"],
];

function at(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((v, key) => isRecord(v) ? v[key] : undefined, value);
}

/**
 * What is wrong with a value that should be a plugin.
 *
 * @param value The value.
 * @returns One sentence a fault; empty if it is a plugin.
 *
 * @example
 * ```ts
 * import { pluginFaults } from "@patchbay/host";
 *
 * console.log(pluginFaults({ name: "myWire" })[0]); // name must be a snake_case string
 * ```
 */
export function pluginFaults(value: unknown): string[] {
  if (!isRecord(value)) return ["it is not an object"];
  const faults: string[] = [];
  for (const [path, check, must] of FIELDS) {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf(".")));
    // An absent table is one fault, not one for each field.
    if (parent !== "" && !isRecord(at(value, parent))) continue;
    if (!check(at(value, path))) faults.push(`${path} ${must}`);
  }
  return faults;
}

/** Whether a value is a plugin. */
export function isPlugin(value: unknown): value is Plugin {
  return pluginFaults(value).length === 0;
}
