/**
 * JSON Schemas of a contract's values: what the contract says, else what its schema library makes
 * of its schemas.
 *
 * @module
 */

import type { AnyContract, StandardSchema } from "@patchbay/core";
import type { FieldTypes } from "./names.ts";

/** A JSON Schema document, of draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What libraries offer that can tell a schema of theirs as JSON Schema. */
interface Converter {
  readonly "~standard": {
    /** Standard JSON Schema (standardschema.dev): zod, valibot, arktype in newer versions. */
    readonly jsonSchema?: Readonly<
      Record<"input" | "output", (options: { target: string }) => JsonSchema>
    >;
  };
  /** zod since 4.1. */
  toJSONSchema?(options?: Readonly<Record<string, unknown>>): JsonSchema;
  /** arktype. */
  toJsonSchema?(): JsonSchema;
}

/** Converted schemas: conversion is slow, and a schema does not change. */
const converted = new WeakMap<object, JsonSchema | null>();

function convert(schema: StandardSchema): JsonSchema | undefined {
  const known = converted.get(schema);
  if (known !== undefined) return known ?? undefined;
  const made = attempt(schema as StandardSchema & Converter);
  converted.set(schema, made ?? null);
  return made;
}

/** What the sender gives is what travels, so it is the input that is described. */
function attempt(schema: StandardSchema & Converter): JsonSchema | undefined {
  const ways = [
    () => schema["~standard"].jsonSchema?.input({ target: "draft-2020-12" }),
    () => schema.toJSONSchema?.({ target: "draft-2020-12", io: "input" }),
    () => schema.toJsonSchema?.(),
  ];
  for (const way of ways) {
    try {
      const made = way();
      if (typeof made === "object" && made !== null) {
        const { $schema: _, ...rest } = made;
        return rest;
      }
    } catch {
      // A schema that has no JSON form, such as one with a transform: the next way, or untyped.
    }
  }
  return undefined;
}

/**
 * The JSON Schema of one value of a contract; `undefined` if nobody can tell.
 *
 * @param contract The contract.
 * @param value The value: `request`, `response`, `value`, `goal`, `feedback`, `result`.
 */
export function schemaOf(contract: AnyContract, value: string): JsonSchema | undefined {
  const said = contract.jsonSchema?.[value];
  if (said !== undefined) return said;
  const schema = (contract as unknown as Readonly<Record<string, StandardSchema | undefined>>)[
    value
  ];
  return schema === undefined ? undefined : convert(schema);
}

const NO_TYPES: FieldTypes = Object.freeze({});
const types = new WeakMap<object, FieldTypes>();

/**
 * The types of an object's fields, so that a number in a path arrives as one.
 *
 * @param contract The contract.
 * @param value Which of its values.
 */
export function fieldTypes(contract: AnyContract, value: string): FieldTypes {
  const known = types.get(contract);
  if (known !== undefined) return known;
  const { properties } = schemaOf(contract, value) ?? {};
  const found: Record<string, string> = {};
  for (const [key, field] of Object.entries(properties ?? {})) {
    const { type } = field as { type?: unknown };
    if (typeof type === "string") found[key] = type;
  }
  const result = Object.keys(found).length > 0 ? found : NO_TYPES;
  types.set(contract, result);
  return result;
}
