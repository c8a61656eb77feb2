/**
 * The configuration of plugins: a table of fields that checks, fills in defaults, and documents.
 *
 * It is a Standard Schema, so a plugin may use zod or another library instead; this one costs no
 * dependency and lets `doctor` and the READMEs print the table.
 *
 * @module
 */

import { nearest } from "./address.ts";
import { PatchbayError } from "./errors.ts";
import type { StandardIssue, StandardSchema } from "./schema.ts";

/** One field of a configuration. */
export interface ConfigField<T = unknown> {
  /** What the value must be. */
  readonly kind: "integer" | "number" | "boolean" | "string" | "strings" | "object" | "any";
  /** What it does, in one sentence, with the unit. */
  readonly description: string;
  /** The value if it is not given. */
  readonly default?: T;
  /** The smallest number allowed. */
  readonly min?: number;
  /** The largest number allowed. */
  readonly max?: number;
  /** The only strings allowed. */
  readonly oneOf?: readonly string[];
}

/** Fields by name. */
export type ConfigFields = Readonly<Record<string, ConfigField>>;

/** A configuration schema with its table of fields. */
export interface ConfigSchema<Config> extends StandardSchema<Partial<Config>, Config> {
  /** The fields, for documents; absent where another library made the schema. */
  readonly fields: ConfigFields;
}

function complaint(field: ConfigField, value: unknown): string | undefined {
  switch (field.kind) {
    case "integer":
    case "number": {
      if (typeof value !== "number" || Number.isNaN(value)) return `must be a number`;
      if (field.kind === "integer" && !Number.isInteger(value) && value !== Infinity) {
        return "must be a whole number";
      }
      if (field.min !== undefined && value < field.min) return `must be at least ${field.min}`;
      if (field.max !== undefined && value > field.max) return `must be at most ${field.max}`;
      return undefined;
    }
    case "boolean":
      return typeof value === "boolean" ? undefined : "must be true or false";
    case "string":
      if (typeof value !== "string") return "must be a string";
      if (field.oneOf !== undefined && !field.oneOf.includes(value)) {
        const near = nearest(value, field.oneOf);
        return `must be one of ${field.oneOf.join(", ")}` +
          (near === undefined ? "" : ` (did you mean ${near}?)`);
      }
      return undefined;
    case "strings":
      return Array.isArray(value) && value.every((v) => typeof v === "string")
        ? undefined
        : "must be a list of strings";
    case "object":
      return typeof value === "object" && value !== null ? undefined : "must be an object";
    case "any":
      return undefined;
  }
}

/**
 * Makes a configuration schema from a table of fields. Unknown keys are errors that suggest the
 * right one.
 *
 * @param fields The table.
 *
 * @example
 * ```ts
 * import { checkConfig, configSchema } from "@patchbay/core";
 *
 * const schema = configSchema<{ port: number }>({
 *   port: { kind: "integer", description: "TCP port", default: 4000, min: 0, max: 65535 },
 * });
 * const config = checkConfig(schema, {}, "config.mywire");
 * console.log(config.port);
 * ```
 */
export function configSchema<Config>(fields: ConfigFields): ConfigSchema<Config> {
  return {
    fields,
    "~standard": {
      version: 1,
      vendor: "patchbay",
      validate(value) {
        const issues: StandardIssue[] = [];
        if (typeof value !== "object" || value === null || Array.isArray(value)) {
          return { issues: [{ message: "must be an object" }] };
        }
        const given = value as Record<string, unknown>;
        const result: Record<string, unknown> = {};
        for (const key of Object.keys(given)) {
          if (Object.hasOwn(fields, key)) continue;
          const near = nearest(key, Object.keys(fields));
          const known = Object.keys(fields).join(", ") || "none";
          issues.push({
            path: [key],
            message: near === undefined
              ? `unknown key; known are: ${known}`
              : `unknown key; did you mean ${near}?`,
          });
        }
        for (const [key, field] of Object.entries(fields)) {
          const item = given[key] === undefined ? field.default : given[key];
          if (item === undefined) continue;
          const wrong = complaint(field, item);
          if (wrong === undefined) result[key] = item;
          else issues.push({ path: [key], message: wrong });
        }
        return issues.length > 0 ? { issues } : { value: result as Config };
      },
    },
  };
}

/**
 * Applies a configuration schema; throws `invalid` with all complaints in one message.
 *
 * @param schema The schema.
 * @param value What the user gave; `undefined` is `{}`.
 * @param where What the configuration is called in messages, such as `config.uds`.
 * @throws {PatchbayError} `invalid`.
 */
export function checkConfig<Config>(
  schema: StandardSchema<Partial<Config>, Config>,
  value: unknown,
  where: string,
): Config {
  const result = schema["~standard"].validate(value ?? {});
  if (result instanceof Promise) {
    throw new PatchbayError("invalid", `${where}: a configuration schema must be synchronous`);
  }
  if (result.issues === undefined) return result.value;
  const lines = result.issues.map((issue) => {
    const path = (issue.path ?? []).map((p) => String(typeof p === "object" ? p.key : p));
    return `${[where, ...path].join(".")}: ${issue.message}`;
  });
  throw new PatchbayError("invalid", lines.join("; "), {
    details: { issues: lines },
    remedy: "patchbay doctor --config-table shows every key with its type and default",
  });
}
