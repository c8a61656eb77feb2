/**
 * RIHS01: the hash by which nodes from ROS 2 Iron on tell whether they mean the same type (REP 2011
 * and 2016): SHA-256 over the type's description and those of all it is made of, as JSON in the
 * form that Python's `json.dumps` gives it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { FieldType, MessageDefinition } from "./definition.ts";

/** Numbers of types (`type_description_interfaces/msg/FieldType`). */
const TYPE_IDS: Readonly<Record<FieldType["base"], number>> = {
  message: 1,
  int8: 2,
  uint8: 3,
  int16: 4,
  uint16: 5,
  int32: 6,
  uint32: 7,
  int64: 8,
  uint64: 9,
  float32: 10,
  float64: 11,
  // ROS 2's char is a uint8 with another name.
  char: 3,
  bool: 15,
  byte: 16,
  string: 17,
  wstring: 18,
};
const BOUNDED_STRING = 21;
const BOUNDED_WSTRING = 22;
const ARRAY_OFFSETS = { fixed: 48, bounded: 96, unbounded: 144 } as const;

function typeId({ base, stringBound, array }: FieldType): number {
  const id = stringBound === 0
    ? TYPE_IDS[base]
    : base === "string"
    ? BOUNDED_STRING
    : BOUNDED_WSTRING;
  return id + (array === undefined ? 0 : ARRAY_OFFSETS[array.kind]);
}

/** JSON with a space behind each comma and colon. */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value);
    return `{${entries.map(([k, v]) => `${JSON.stringify(k)}: ${pythonJson(v)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

function describe({ name, fields }: MessageDefinition) {
  return {
    type_name: name,
    fields: fields.map(({ name, type }) => ({
      name,
      type: {
        type_id: typeId(type),
        capacity: type.array?.size ?? 0,
        string_capacity: type.stringBound,
        nested_type_name: type.message ?? "",
      },
    })),
  };
}

/** Every message that a message is made of, itself left out, by name. */
export function referenced(
  of: MessageDefinition,
  resolve: (name: string) => MessageDefinition,
): MessageDefinition[] {
  const found = new Map<string, MessageDefinition>();
  const visit = (definition: MessageDefinition) => {
    for (const { type } of definition.fields) {
      if (type.message === undefined || found.has(type.message)) continue;
      const nested = resolve(type.message);
      found.set(type.message, nested);
      visit(nested);
    }
  };
  visit(of);
  found.delete(of.name);
  return [...found.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}

/**
 * The hash of a type.
 *
 * @param of The type; a service or action as the one message it is described by.
 * @param resolve Finds the messages it is made of.
 * @returns `RIHS01_` and 64 hexadecimal digits.
 */
export function typeHash(
  of: MessageDefinition,
  resolve: (name: string) => MessageDefinition,
): string {
  const text = pythonJson({
    type_description: describe(of),
    referenced_type_descriptions: referenced(of, resolve).map(describe),
  });
  return `RIHS01_${createHash("sha256").update(text).digest("hex")}`;
}
