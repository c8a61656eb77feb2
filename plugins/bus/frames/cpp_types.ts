/**
 * Which C++ types a frame may hold, and what to write instead of the others.
 *
 * @module
 */

import type { Scalar } from "./definitions.ts";

const SCALARS: Readonly<Record<string, Scalar>> = {
  "bool": "bool",
  "char": "char",
  "signed char": "int8",
  "unsigned char": "uint8",
  "byte": "uint8", // std::byte
  "int8_t": "int8",
  "uint8_t": "uint8",
  "int16_t": "int16",
  "uint16_t": "uint16",
  "int32_t": "int32",
  "uint32_t": "uint32",
  "int64_t": "int64",
  "uint64_t": "uint64",
  "float": "float32",
  "double": "float64",
};

const INSTEAD: Readonly<Record<string, string>> = {
  "short": "write int16_t",
  "unsigned short": "write uint16_t",
  "int": "write int32_t (or int16_t, int8_t): how large an int is depends on the machine",
  "unsigned": "write uint32_t",
  "unsigned int": "write uint32_t: how large an int is depends on the machine",
  "signed": "write int32_t",
  "long": "write int32_t or int64_t: how large a long is depends on the machine",
  "unsigned long": "write uint32_t or uint64_t",
  "long long": "write int64_t",
  "unsigned long long": "write uint64_t",
  "long double": "write double",
  "size_t": "write uint32_t",
  "wchar_t": "write uint16_t or char",
  "string": "write char name[N], with room for the longest text",
  "string_view": "write char name[N], with room for the longest text",
  "vector": "write T name[N], last in the struct: what is not used is not sent",
  "array": "write T name[N]",
  "optional": "write a bool beside the value",
  "variant": "write one frame for each alternative",
  "map": "write an array of structs",
  "union": "write one frame for each alternative",
};

/** The scalar that a C++ type is, if it is one. */
export function scalarOf(cpp: string): Scalar | undefined {
  return Object.hasOwn(SCALARS, cpp) ? SCALARS[cpp] : undefined;
}

/** What to write instead of a type that a frame cannot hold, if that is known. */
export function insteadOf(cpp: string): string | undefined {
  return Object.hasOwn(INSTEAD, cpp) ? INSTEAD[cpp] : undefined;
}

/** Words that together make up one fundamental type. */
export const TYPE_WORDS: ReadonlySet<string> = new Set([
  "signed",
  "unsigned",
  "short",
  "long",
  "int",
  "char",
  "double",
]);
