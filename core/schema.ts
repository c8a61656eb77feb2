/**
 * Standard Schema v1 (https://standardschema.dev), the interface that zod, valibot, arktype and
 * others share: just the types, and the one function that applies a schema to a value.
 *
 * @module
 */

import { PatchbayError } from "./errors.ts";

/** A validator by any library that follows Standard Schema v1. */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** The standard's one property. */
  readonly "~standard": StandardSchemaProps<Input, Output>;
}

/** What a Standard Schema offers. */
export interface StandardSchemaProps<Input = unknown, Output = Input> {
  /** The version of the standard; always 1. */
  readonly version: 1;
  /** The library's name. */
  readonly vendor: string;
  /** Checks a value, and may transform it. */
  readonly validate: (
    value: unknown,
  ) => StandardResult<Output> | Promise<StandardResult<Output>>;
  /** Types only; absent at run time. */
  readonly types?: { readonly input: Input; readonly output: Output } | undefined;
}

/** A schema's answer. */
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

/** One thing that is wrong with a value. */
export interface StandardIssue {
  /** What is wrong. */
  readonly message: string;
  /** Where, from the outside in. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What may be given to a schema. */
export type InputOf<S> = S extends StandardSchema<infer Input, infer _> ? Input : unknown;

/** What a schema gives back. */
export type OutputOf<S> = S extends StandardSchema<infer _, infer Output> ? Output : unknown;

function pathOf(what: string, issue: StandardIssue): string {
  let text = what;
  for (const part of issue.path ?? []) {
    const key = typeof part === "object" ? part.key : part;
    text += typeof key === "number" ? `[${key}]` : `.${String(key)}`;
  }
  return text;
}

function accept<T>(result: StandardResult<T>, what: string): T {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, 8).map((issue) => ({
    path: pathOf(what, issue),
    message: issue.message,
  }));
  const first = issues[0] ?? { path: what, message: "refused by the schema" };
  throw new PatchbayError("invalid", `${first.path}: ${first.message}`, {
    details: { path: first.path, issues },
    remedy: "send what the contract's schema accepts",
  });
}

/**
 * Applies a schema: returns its output, or throws (or rejects with) `invalid`, naming the path.
 * The answer is a promise only if the schema is asynchronous.
 *
 * @param schema The schema.
 * @param value The value to check.
 * @param what What the value is, as the first part of the path: `request`, `response`, `goal`, …
 * @throws {PatchbayError} `invalid`, with `details.path` and `details.issues`.
 */
export function applySchema<T>(
  schema: StandardSchema<unknown, T>,
  value: unknown,
  what: string,
): T | Promise<T> {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) return result.then((r) => accept(r, what));
  if (result.issues === undefined) return result.value;
  return accept(result, what);
}
