/**
 * Reads frame definitions from YAML: the same content as a C++ header, for projects without C++.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { parse } from "@std/yaml/parse.js";
import { assemble } from "./assemble.ts";
import type { HeaderContents } from "./cpp_header.ts";
import {
  type Enum,
  type EnumValue,
  type Field,
  type FieldType,
  FRAME_TYPE_ENUM,
  type FrameDefinitions,
  INTEGER_RANGE,
  type Scalar,
  SCALAR_BYTES,
} from "./definitions.ts";

const NAME = /^[A-Za-z_]\w*$/;
const TYPE = /^([A-Za-z_]\w*)(?:\[(\d+)\])?$/;

// The npm build of @std/yaml has no types.
const parseYaml: (text: string) => unknown = parse;

/** Names that the bus itself knows; they need not be listed. */
const OWN_NUMBERS: ReadonlyMap<string, bigint> = new Map([
  ["EXTERNAL", 253n],
  ["IDENTITY", 254n],
  ["ALL", 255n],
]);

const entryIsEmpty = (value: unknown): boolean =>
  typeof value === "object" && value !== null && Object.keys(value).length === 0;

/**
 * Reads frame definitions from YAML.
 *
 * ```yaml
 * enums:
 *   colour: { type: uint8, values: { RED: 0, GREEN: 1 } }
 * structs:
 *   external_id: { octets: "uint8[2]" }
 * frames:
 *   BUTTON_STATE:
 *     number: 1 # Else one more than the frame before.
 *     doc: The state of a button.
 *     fields:
 *       pressed: bool
 *       text: { type: "char[32]", doc: What is written on it. }
 * ```
 *
 * @param file How errors name it.
 * @param text Its content.
 * @throws `invalid`: the path inside the file, and what may stand there.
 */
export function readYamlFrames(file: string, text: string): FrameDefinitions {
  let parsed: unknown;
  try {
    parsed = parseYaml(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PatchbayError("invalid", `${file}: this is not YAML: ${why}`, { cause: error });
  }
  return new YamlReader(file).read(parsed);
}

class YamlReader {
  readonly #contents: HeaderContents = {
    enums: new Map(),
    structs: new Map(),
    ties: [],
    templates: new Map(),
    places: new Map(),
    missing: [],
  };

  constructor(readonly file: string) {}

  read(root: unknown): FrameDefinitions {
    const { enums = {}, structs = {}, frames, ...others } = this.#map(root, "the file");
    for (const key of Object.keys(others)) {
      throw this.#fail(key, "is not known", "enums, structs and frames may stand there");
    }
    for (const [name, value] of this.#entries(enums, "enums")) this.#enum(name, value);
    // Fields may name the type of frames, whose numbers are read last.
    this.#contents.enums.set(FRAME_TYPE_ENUM, this.#frameType([]));
    for (const [name, value] of this.#entries(structs, "structs")) {
      const { doc, fields } = this.#described(value, `structs.${name}`);
      this.#struct(name, fields, doc, `structs.${name}`);
    }
    this.#frames(this.#entries(frames ?? {}, "frames"));
    return assemble(this.file, this.#contents);
  }

  #frames(entries: [string, unknown][]): void {
    const values: EnumValue[] = [{ name: "NONE", value: 0n, doc: "" }];
    for (const [name, value] of entries) {
      const path = `frames.${name}`;
      const { number, doc = "", fields = {}, ...others } = this.#map(value ?? {}, path);
      for (const key of Object.keys(others)) {
        throw this.#fail(
          `${path}.${key}`,
          "is not known",
          "number, doc and fields may stand there",
        );
      }
      const following = values.findLast((each) => !OWN_NUMBERS.has(each.name))!.value + 1n;
      const usual = OWN_NUMBERS.get(name) ?? following;
      const own = number === undefined ? usual : this.#integer(number, `${path}.number`);
      if (own < 1n || own > 255n) throw this.#fail(`${path}.number`, "is not 1 to 255");
      values.push({ name, value: own, doc: String(doc) });
      if (OWN_NUMBERS.has(name) && entryIsEmpty(fields)) continue; // The bus's own.
      const struct = `frame_${name.toLowerCase()}_s`;
      this.#struct(struct, fields, String(doc), `${path}.fields`);
      this.#contents.ties.push({
        struct,
        frame: name,
        place: { file: this.file, line: 1, column: 1 },
      });
    }
    for (const [name, value] of OWN_NUMBERS) {
      if (!values.some((each) => each.name === name)) values.push({ name, value, doc: "" });
    }
    this.#contents.enums.set(FRAME_TYPE_ENUM, this.#frameType(values));
  }

  #frameType(values: EnumValue[]): Enum {
    return { name: FRAME_TYPE_ENUM, scalar: "uint8", values, doc: "The types of frames." };
  }

  #enum(name: string, value: unknown): void {
    const path = `enums.${name}`;
    const { type = "uint8", values, doc = "" } = this.#map(value, path);
    const scalar = String(type) as Scalar;
    const range = INTEGER_RANGE.get(scalar);
    if (!range) throw this.#fail(`${path}.type`, `is ${scalar}`, "write uint8, int16, …");
    const list = Array.isArray(values)
      ? values.map((each, index): [string, unknown] => [String(each), index])
      : this.#entries(values, `${path}.values`);
    const seen = new Set<string>();
    for (const [each] of list) {
      this.#checkName(each, `${path}.values.${each}`);
      if (seen.has(each)) throw this.#fail(`${path}.values.${each}`, "is there twice");
      seen.add(each);
    }
    const read = list.map(([each, number]) => {
      const at = this.#integer(number, `${path}.values.${each}`);
      if (at < range[0] || at > range[1]) {
        throw this.#fail(`${path}.values.${each}`, `${at} does not fit into ${scalar}`);
      }
      return { name: each, value: at, doc: "" };
    });
    this.#contents.enums.set(name, { name, scalar, values: read, doc: String(doc) });
  }

  #described(value: unknown, path: string): { doc: string; fields: unknown } {
    const map = this.#map(value, path);
    return "fields" in map && typeof map.fields === "object"
      ? { doc: String(map.doc ?? ""), fields: map.fields }
      : { doc: "", fields: map };
  }

  #struct(name: string, fields: unknown, doc: string, path: string): void {
    if (this.#contents.structs.has(name)) throw this.#fail(path, `defines ${name} a second time`);
    const read = this.#entries(fields, path).map(([field, value]): Field => {
      const at = `${path}.${field}`;
      if (typeof value === "string") return { name: field, ...this.#type(value, at), doc: "" };
      const { type, doc: own = "" } = this.#map(value, at);
      return { name: field, ...this.#type(String(type), at), doc: String(own) };
    });
    this.#contents.structs.set(name, { name, fields: read, doc });
  }

  #type(text: string, path: string): { type: FieldType; length?: number } {
    const [, written, count] = TYPE.exec(text) ?? [];
    const name = written?.replace(/_t$/, "");
    const length = count === undefined ? {} : { length: Number(count) };
    if (count === "0") throw this.#fail(path, "has the length 0", "write 1 or more");
    if (name && Object.hasOwn(SCALAR_BYTES, name)) {
      return { type: { kind: "scalar", scalar: name as Scalar }, ...length };
    }
    if (name && this.#contents.enums.has(written)) {
      return { type: { kind: "enum", name: written }, ...length };
    }
    if (name && this.#contents.structs.has(written)) {
      return { type: { kind: "struct", name: written }, ...length };
    }
    const known = [
      ...Object.keys(SCALAR_BYTES),
      ...this.#contents.enums.keys(),
      ...this.#contents.structs.keys(),
    ].join(", ");
    throw this.#fail(
      path,
      `has the type “${text}”`,
      `known are ${known}, each with [N] as an array`,
    );
  }

  #integer(value: unknown, path: string): bigint {
    if (typeof value === "bigint") return value;
    if (Number.isSafeInteger(value)) return BigInt(value as number);
    throw this.#fail(path, `is ${JSON.stringify(value) ?? "not there"}`, "write an integer");
  }

  #map(value: unknown, path: string): Record<string, unknown> {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
    throw this.#fail(path, "is not a table", "write `name: value` lines, indented");
  }

  #entries(value: unknown, path: string): [string, unknown][] {
    const entries = Object.entries(this.#map(value, path));
    for (const [name] of entries) this.#checkName(name, `${path}.${name}`);
    return entries;
  }

  #checkName(name: string, path: string): void {
    if (!NAME.test(name)) throw this.#fail(path, "is no name", "use letters, digits and _");
  }

  #fail(path: string, what: string, instead?: string): PatchbayError {
    return new PatchbayError("invalid", `${this.file}: ${path} ${what}`, {
      details: { file: this.file, path },
      remedy: instead,
    });
  }
}
