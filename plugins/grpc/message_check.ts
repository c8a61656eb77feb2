/**
 * Whether a value fits a message of a `.proto`: protobufjs would make something of whatever it is
 * given; here a wrong field is named.
 *
 * @module
 */

import protobuf from "npm:protobufjs@7.6.6";
import { nearest, PatchbayError } from "@patchbay/core";

type Fields = Record<string, unknown>;

/** The whole numbers of 32 bits: the least and the largest. */
const INTEGERS: Readonly<Record<string, readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  sint32: [-(2 ** 31), 2 ** 31 - 1],
  sfixed32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  fixed32: [0, 2 ** 32 - 1],
};

/** Those of 64. */
const LONGS: Readonly<Record<string, readonly [bigint, bigint]>> = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  sint64: [-(2n ** 63n), 2n ** 63n - 1n],
  sfixed64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  fixed64: [0n, 2n ** 64n - 1n],
};

/** How deep messages may lie in each other. */
const MAX_DEPTH = 100;

function refuse(path: string, problem: string, remedy?: string): never {
  throw new PatchbayError("invalid", `${path}: ${problem}`, { details: { path }, remedy });
}

/**
 * Checks a value.
 *
 * @param type The message's type.
 * @param value The value. `undefined` is a message without fields.
 * @param path What it is called.
 * @param depth How deep it lies.
 * @returns What protobufjs makes a message of.
 * @throws {PatchbayError} `invalid`, naming the path.
 */
export function checkMessage(
  type: protobuf.Type,
  value: unknown,
  path: string,
  depth = 0,
): Fields {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse(path, `must be an object with the fields of ${type.fullName.slice(1)}`);
  }
  if (depth > MAX_DEPTH) refuse(path, `lies deeper than ${MAX_DEPTH} messages`);
  const checked: Fields = {};
  for (const [name, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const field = Object.hasOwn(type.fields, name) ? type.fields[name] : undefined;
    if (field === undefined) {
      const names = Object.keys(type.fields);
      const near = nearest(name, names);
      refuse(
        `${path}.${name}`,
        `${type.fullName.slice(1)} has no such field; ` +
          (near === undefined ? `it has ${names.join(", ") || "none"}` : `did you mean ${near}?`),
      );
    }
    // An absent message is null where the defaults are filled in: what came may be sent on.
    if (item === null && !field.repeated && !field.map) continue;
    checked[name] = checkField(field, item, `${path}.${name}`, depth);
  }
  for (const oneof of type.oneofsArray) {
    const set = oneof.fieldsArray.filter(({ name }) => Object.hasOwn(checked, name));
    if (set.length > 1) {
      refuse(path, `only one of ${set.map(({ name }) => name).join(", ")} may be set`);
    }
  }
  return checked;
}

function checkField(field: protobuf.Field, item: unknown, path: string, depth: number): unknown {
  if (field instanceof protobuf.MapField) {
    if (typeof item !== "object" || item === null || Array.isArray(item)) {
      refuse(path, "must be an object: it is a map");
    }
    const entries = Object.entries(item).map(([key, one]) => {
      checkKey(field.keyType, key, path);
      return [key, checkOne(field, one, `${path}.${key}`, depth)];
    });
    return Object.fromEntries(entries);
  }
  if (!field.repeated) return checkOne(field, item, path, depth);
  if (!Array.isArray(item)) refuse(path, "must be a list: the field is repeated");
  return item.map((one, index) => checkOne(field, one, `${path}[${index}]`, depth));
}

function checkKey(type: string, key: string, path: string): void {
  if (type === "string") return;
  if (type === "bool" ? key === "true" || key === "false" : /^-?\d+$/.test(key)) return;
  refuse(path, `${JSON.stringify(key)} is no key of type ${type}`);
}

function checkOne(field: protobuf.Field, item: unknown, path: string, depth: number): unknown {
  const { resolvedType, type } = field;
  if (resolvedType instanceof protobuf.Enum) return checkEnum(resolvedType, item, path);
  if (resolvedType instanceof protobuf.Type) {
    if (item === null) refuse(path, `must be a ${resolvedType.fullName.slice(1)}, not null`);
    return checkMessage(resolvedType, item, path, depth + 1);
  }
  return checkScalar(type, item, path);
}

function checkEnum(type: protobuf.Enum, item: unknown, path: string): unknown {
  if (typeof item === "string" && Object.hasOwn(type.values, item)) return item;
  // A number that the file does not name is kept: proto3's enumerations are open.
  if (typeof item === "number" && Number.isInteger(item) && Math.abs(item) < 2 ** 31) return item;
  const names = Object.keys(type.values);
  const near = typeof item === "string" ? nearest(item, names) : undefined;
  refuse(
    path,
    `must be one of ${names.join(", ")}` + (near === undefined ? "" : ` (did you mean ${near}?)`),
  );
}

function checkScalar(type: string, item: unknown, path: string): unknown {
  switch (type) {
    case "string":
      if (typeof item !== "string") refuse(path, "must be a string");
      if (!item.isWellFormed()) refuse(path, "has half a character in it: it is no UTF-8");
      return item;
    case "bool":
      return typeof item === "boolean" ? item : refuse(path, "must be true or false");
    case "bytes":
      return item instanceof Uint8Array ? item : refuse(path, "must be a Uint8Array");
    case "double":
    case "float":
      return typeof item === "number" ? item : refuse(path, "must be a number");
  }
  const small = INTEGERS[type];
  if (small !== undefined) {
    const [least, most] = small;
    const fits = typeof item === "number" && Number.isInteger(item) && item >= least &&
      item <= most;
    return fits ? item : refuse(path, `must be a whole number from ${least} to ${most}`);
  }
  const [least, most] = LONGS[type];
  const number = wholeNumber(item);
  if (number === undefined || number < least || number > most) {
    refuse(
      path,
      `must be a whole number from ${least} to ${most}, as bigint, number or decimal text`,
    );
  }
  return String(number);
}

function wholeNumber(item: unknown): bigint | undefined {
  if (typeof item === "bigint") return item;
  if (typeof item === "number") return Number.isSafeInteger(item) ? BigInt(item) : undefined;
  return typeof item === "string" && /^-?\d{1,20}$/.test(item) ? BigInt(item) : undefined;
}
