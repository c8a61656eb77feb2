/**
 * The codec that is written as JavaScript for each type: straight lines of reads and writes at
 * offsets that are known, several times faster than walking the definition.
 *
 * It needs the right to make code of text, which a strict content security policy takes away:
 * `mayCompile` says whether it is there.
 *
 * @module
 */

import * as cdr from "./cdr.ts";
import {
  type Field,
  type FieldType,
  INTEGER_BITS,
  type Literal,
  type MessageDefinition,
  type Primitive,
  PRIMITIVE_BYTES,
} from "./definition.ts";
import { type Codec, isLittleEndian, leastBytes, type Resolve } from "./walking_codec.ts";

let may: boolean | undefined;

/** Whether code may be made of text here. */
export function mayCompile(): boolean {
  if (may === undefined) {
    try {
      may = new Function("return true")() as boolean;
    } catch {
      may = false;
    }
  }
  return may;
}

/** Sequences of constant size up to this one are written out instead of looped over. */
const UNROLLED = 16;

/** JavaScript for a literal. */
function literal(value: Literal): string {
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  // JSON has no words for these.
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (Object.is(value, -0)) return "-0";
  return JSON.stringify(value);
}

const text = (value: string) => JSON.stringify(value);

/** What is known of the offset: `o + ahead`, of which the rest by `modulus` is `rest`. */
class Position {
  ahead = 0;
  rest = 0;
  modulus = 8;
  readonly lines: string[];
  /** Whether what is passed over for alignment is set to zero: it may hold what stood there before. */
  readonly #zeroes: boolean;

  constructor(lines: string[], zeroes: boolean) {
    this.lines = lines;
    this.#zeroes = zeroes;
  }

  /** JavaScript for the offset. */
  get expression(): string {
    return this.ahead === 0 ? "o" : `o + ${this.ahead}`;
  }

  /** Makes `o` the offset itself. */
  settle(): void {
    if (this.ahead > 0) this.lines.push(`o += ${this.ahead};`);
    this.ahead = 0;
  }

  align(to: number): void {
    if (to <= this.modulus) {
      const padding = (to - this.rest % to) % to;
      for (let i = 0; this.#zeroes && i < padding; i++) {
        this.lines.push(`u[o + ${4 + this.ahead + i}] = 0;`);
      }
      this.ahead += padding;
      this.rest = (this.rest + padding) % this.modulus;
      return;
    }
    this.settle();
    this.lines.push(this.aligning(to));
    this.rest = 0;
    this.modulus = to;
  }

  /** A statement that aligns `o`. */
  aligning(to: number): string {
    return this.#zeroes
      ? `while ((o & ${to - 1}) !== 0) u[4 + o++] = 0;`
      : `o = (o + ${to - 1}) & ~${to - 1};`;
  }

  advance(bytes: number): void {
    this.ahead += bytes;
    this.rest = (this.rest + bytes) % this.modulus;
  }

  /** `o` was set by other means; no more is known than that it is a multiple. */
  unknown(modulus = 1): void {
    this.ahead = 0;
    this.rest = 0;
    this.modulus = modulus;
  }
}

/** Writes the code of one type. */
class Compiler {
  readonly #resolve: Resolve;
  #names = 0;

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  #name(prefix: string): string {
    return `${prefix}${this.#names++}`;
  }

  /** The most bytes that a value takes: statements that add to `n`. */
  size(fields: readonly Field[], from: string, path: string, lines: string[]): void {
    let fixed = 0;
    for (const field of fields) {
      const { type } = field;
      const { array, base } = type;
      const value = `${from}.${field.name}`;
      const at = `${path}.${field.name}`;
      const isText = base === "string" || base === "wstring";
      if (array === undefined) {
        if (base === "message") {
          const nested = this.#resolve(type.message as string).fields;
          if (this.#isFlat(nested)) {
            fixed += this.#flatBytes(nested);
            continue;
          }
          const name = this.#name("m");
          lines.push(`const ${name} = objectOf(${value}, ${text(at)});`);
          this.size(nested, name, at, lines);
        } else if (isText) {
          const given = literal(cdr.scalarDefault(type, field.default));
          const words = `textOf(${value}, ${given}, ${text(at)}, ${type.stringBound})`;
          lines.push(
            base === "string" ? `n += textBytes(${words});` : `n += 8 + 4 * ${words}.length;`,
          );
        } else fixed += 2 * PRIMITIVE_BYTES[base];
        continue;
      }
      if (array.kind === "fixed" && !isText && base !== "message") {
        fixed += (array.size + 1) * PRIMITIVE_BYTES[base];
        continue;
      }
      const list = this.#name("l");
      lines.push(`const ${list} = ${this.#list(field, value, at)};`);
      fixed += 16;
      if (!isText && base !== "message") {
        lines.push(`n += ${PRIMITIVE_BYTES[base]} * ${list}.length;`);
        continue;
      }
      const i = this.#name("i");
      const element = `${list}[${i}]`;
      const inner: string[] = [];
      if (isText) {
        const words = `textOf(${element} ?? null, "", ${
          text(at)
        } + "[" + ${i} + "]", ${type.stringBound})`;
        inner.push(
          base === "string" ? `n += textBytes(${words});` : `n += 8 + 4 * ${words}.length;`,
        );
      } else {
        const nested = this.#resolve(type.message as string).fields;
        if (this.#isFlat(nested)) {
          lines.push(`n += ${this.#flatBytes(nested)} * ${list}.length;`);
          continue;
        }
        const name = this.#name("m");
        inner.push(`const ${name} = ${this.#element(element, field, at, i, list)};`);
        this.size(nested, name, `${at}[]`, inner);
      }
      lines.push(`for (let ${i} = 0; ${i} < ${list}.length; ${i}++) {`, ...inner, "}");
    }
    if (fixed > 0) lines.push(`n += ${fixed};`);
  }

  /** Whether a message always takes the same, but for alignment. */
  #isFlat(fields: readonly Field[]): boolean {
    return fields.every(({ type: { array, base, message } }) => {
      if (base === "string" || base === "wstring") return false;
      if (array !== undefined && array.kind !== "fixed") return false;
      return base !== "message" || this.#isFlat(this.#resolve(message as string).fields);
    });
  }

  #flatBytes(fields: readonly Field[]): number {
    return fields.reduce((sum, { type: { array, base, message } }) => {
      const count = array?.size ?? 1;
      if (base === "message") {
        return sum + count * this.#flatBytes(this.#resolve(message as string).fields);
      }
      return sum + (array === undefined ? 2 : count + 1) * PRIMITIVE_BYTES[base as Primitive];
    }, 0);
  }

  /** JavaScript for the list of a field, checked. */
  #list(field: Field, value: string, path: string): string {
    const { array, base } = field.type;
    const size = array?.kind === "fixed" ? array.size : 0;
    const otherwise = field.default !== undefined
      ? literal(field.default)
      : size === 0
      ? "NONE"
      : base === "message"
      ? `missing(${size})`
      : `zeros(${size}, ${literal(cdr.scalarDefault(field.type, undefined))})`;
    return `listOf(${value}, ${otherwise}, ${text(path)}, "${array?.kind}", ${array?.size})`;
  }

  /** An element that is a message: it can be left out only where the whole list is. */
  #element(element: string, field: Field, path: string, i: string, list: string): string {
    const isFixed = field.type.array?.kind === "fixed";
    const value = isFixed
      ? `(${list}.isMissing ? undefined : ${element} ?? null)`
      : `${element} ?? null`;
    return `objectOf(${value}, ${text(path)} + "[" + ${i} + "]")`;
  }

  /** Statements that write a value. */
  put(fields: readonly Field[], from: string, path: string, position: Position): void {
    const { lines } = position;
    for (const field of fields) {
      const { type } = field;
      const { array, base } = type;
      const value = `${from}.${field.name}`;
      const at = `${path}.${field.name}`;
      if (array === undefined) {
        this.#putOne(type, value, text(at), field.default, at, position);
        continue;
      }
      const list = this.#name("l");
      lines.push(`const ${list} = ${this.#list(field, value, at)};`);
      const isSequence = array.kind !== "fixed";
      if (isSequence) {
        position.align(4);
        lines.push(`d.setUint32(${position.expression}, ${list}.length, true);`);
        position.advance(4);
      }
      if (base !== "message" && base !== "string" && base !== "wstring") {
        this.#putNumbers(base, list, text(at), isSequence ? undefined : array.size, position);
        continue;
      }
      const i = this.#name("i");
      position.settle();
      lines.push(`for (let ${i} = 0; ${i} < ${list}.length; ${i}++) {`);
      position.unknown();
      const where = `${text(at)} + "[" + ${i} + "]"`;
      if (base === "message") {
        const name = this.#name("m");
        lines.push(`const ${name} = ${this.#element(`${list}[${i}]`, field, at, i, list)};`);
        this.put(this.#resolve(type.message as string).fields, name, `${at}[]`, position);
      } else {this.#putOne(
          { ...type, array: undefined },
          `(${list}[${i}] ?? null)`,
          where,
          undefined,
          at,
          position,
        );}
      position.settle();
      lines.push("}");
      position.unknown();
    }
  }

  #putNumbers(
    base: Primitive,
    list: string,
    where: string,
    size: number | undefined,
    position: Position,
  ): void {
    const bytes = PRIMITIVE_BYTES[base];
    const { lines } = position;
    if (size !== undefined) {
      position.align(bytes);
      if (base === "float64" && size <= UNROLLED) {
        for (let i = 0; i < size; i++) {
          const at = position.ahead + 8 * i;
          const checked = `typeof (t = ${list}[${i}]) === "number" ? t : ` +
            `numberOf(t ?? null, 0, ${where} + "[${i}]")`;
          lines.push(`d.setFloat64(o + ${at}, ${checked}, true);`);
        }
      } else lines.push(`putNumbers(u, d, ${position.expression}, ${list}, "${base}", ${where});`);
      position.advance(bytes * size);
      return;
    }
    position.settle();
    if (bytes > 4) lines.push(`if (${list}.length > 0) ${position.aligning(bytes)}`);
    lines.push(
      `putNumbers(u, d, o, ${list}, "${base}", ${where});`,
      `o += ${bytes} * ${list}.length;`,
    );
    position.unknown(Math.min(4, bytes));
  }

  #putOne(
    type: FieldType,
    value: string,
    where: string,
    given: Literal | undefined,
    path: string,
    position: Position,
  ): void {
    const { base } = type;
    const { lines } = position;
    if (base === "message") {
      const name = this.#name("m");
      lines.push(`const ${name} = objectOf(${value}, ${where});`);
      return this.put(this.#resolve(type.message as string).fields, name, path, position);
    }
    const otherwise = literal(cdr.scalarDefault(type, given));
    if (base === "string" || base === "wstring") {
      const words = `textOf(${value}, ${otherwise}, ${where}, ${type.stringBound})`;
      position.align(4);
      lines.push(
        base === "string"
          ? `o = putText(u, d, ${position.expression}, ${words});`
          : `o = putWide(d, ${position.expression}, ${words});`,
      );
      return position.unknown(base === "string" ? 1 : 4);
    }
    const bytes = PRIMITIVE_BYTES[base];
    position.align(bytes);
    lines.push(PUT_ONE[base](position.expression, value, otherwise, where));
    position.advance(bytes);
  }

  /** Statements that read fields, and the object that holds them. */
  get(fields: readonly Field[], position: Position): string {
    const parts: string[] = [];
    for (const { name, type } of fields) parts.push(`${name}: ${this.#get(type, position)}`);
    return `{ ${parts.join(", ")} }`;
  }

  #get(type: FieldType, position: Position): string {
    const { array, base } = type;
    const { lines } = position;
    if (array === undefined) return this.#getOne(type, position);
    const one = { ...type, array: undefined };
    const list = this.#name("l");
    let length = String(array.size);
    if (array.kind !== "fixed") {
      length = this.#name("n");
      position.align(4);
      const least = leastBytes(one, this.#resolve);
      lines.push(
        `const ${length} = getLength(d, ${position.expression}, e, ${least}, ${array.size});`,
      );
      position.advance(4);
    }
    if (base === "message" || base === "string" || base === "wstring") {
      const i = this.#name("i");
      position.settle();
      lines.push(`const ${list} = [];`, `for (let ${i} = 0; ${i} < ${length}; ${i}++) {`);
      position.unknown();
      const value = this.#getOne(one, position);
      position.settle();
      lines.push(`${list}.push(${value});`, "}");
      position.unknown();
      return list;
    }
    const bytes = PRIMITIVE_BYTES[base];
    if (array.kind === "fixed") {
      position.align(bytes);
      if (base === "float64" && array.size <= UNROLLED) {
        const values = Array.from(
          { length: array.size },
          (_, i) => `d.getFloat64(o + ${position.ahead + 8 * i}, e)`,
        );
        lines.push(`const ${list} = [${values.join(", ")}];`);
      } else lines.push(`const ${list} = ${numbers(base, position.expression, length)};`);
      position.advance(bytes * array.size);
      return list;
    }
    position.settle();
    if (bytes > 4) lines.push(`if (${length} > 0) ${position.aligning(bytes)}`);
    lines.push(`const ${list} = ${numbers(base, "o", length)};`, `o += ${bytes} * ${length};`);
    position.unknown(Math.min(4, bytes));
    return list;
  }

  #getOne(type: FieldType, position: Position): string {
    const { base } = type;
    const { lines } = position;
    const value = this.#name("v");
    if (base === "message") {
      const object = this.get(this.#resolve(type.message as string).fields, position);
      lines.push(`const ${value} = ${object};`);
      return value;
    }
    if (base === "string" || base === "wstring") {
      position.align(4);
      const call = base === "string"
        ? `getText(u, d, ${position.expression}, e)`
        : `getWide(d, ${position.expression}, e)`;
      lines.push(`const ${value} = ${call};`, "o = cursor.at;");
      position.unknown(base === "string" ? 1 : 4);
      return value;
    }
    const bytes = PRIMITIVE_BYTES[base];
    position.align(bytes);
    lines.push(`const ${value} = ${GET_ONE[base](position.expression)};`);
    position.advance(bytes);
    return value;
  }
}

function numbers(base: Primitive, at: string, length: string): string {
  return cdr.isBytes(base)
    ? `getBytes(u, ${at}, ${length}, owned)`
    : `getNumbers(d, ${at}, ${length}, "${base}", e)`;
}

type PutOne = (at: string, value: string, otherwise: string, where: string) => string;

/** A number of so many bits is right when it survives being cut to them. */
const small = (setter: string, cut: (t: string) => string, base: Primitive): PutOne => {
  const bits = INTEGER_BITS[base];
  const order = Math.abs(bits as number) === 8 ? "" : ", true";
  return (at, value, otherwise, where) =>
    `d.${setter}(${at}, (t = ${value}) === (${cut("t")}) ? t : ` +
    `integerOf(t, ${otherwise}, ${where}, ${bits})${order});`;
};
const real = (setter: string): PutOne => (at, value, otherwise, where) =>
  `d.${setter}(${at}, typeof (t = ${value}) === "number" ? t : ` +
  `numberOf(t, ${otherwise}, ${where}), true);`;
const big = (setter: string, signed: boolean): PutOne => (at, value, otherwise, where) =>
  `d.${setter}(${at}, bigintOf(${value}, ${otherwise}, ${where}, ${signed}), true);`;

const PUT_ONE: Readonly<Record<Primitive, PutOne>> = {
  bool: (at, value, otherwise, where) =>
    `d.setUint8(${at}, (t = ${value}) === true ? 1 : t === false ? 0 : ` +
    `booleanOf(t, ${otherwise}, ${where}));`,
  byte: small("setUint8", (t) => `${t} & 255`, "byte"),
  char: small("setUint8", (t) => `${t} & 255`, "char"),
  uint8: small("setUint8", (t) => `${t} & 255`, "uint8"),
  int8: small("setInt8", (t) => `${t} << 24 >> 24`, "int8"),
  uint16: small("setUint16", (t) => `${t} & 65535`, "uint16"),
  int16: small("setInt16", (t) => `${t} << 16 >> 16`, "int16"),
  uint32: small("setUint32", (t) => `${t} >>> 0`, "uint32"),
  int32: small("setInt32", (t) => `${t} | 0`, "int32"),
  uint64: big("setBigUint64", false),
  int64: big("setBigInt64", true),
  float32: real("setFloat32"),
  float64: real("setFloat64"),
};

const GET_ONE: Readonly<Record<Primitive, (at: string) => string>> = {
  bool: (at) => `d.getUint8(${at}) !== 0`,
  byte: (at) => `d.getUint8(${at})`,
  char: (at) => `d.getUint8(${at})`,
  uint8: (at) => `d.getUint8(${at})`,
  int8: (at) => `d.getInt8(${at})`,
  uint16: (at) => `d.getUint16(${at}, e)`,
  int16: (at) => `d.getInt16(${at}, e)`,
  uint32: (at) => `d.getUint32(${at}, e)`,
  int32: (at) => `d.getInt32(${at}, e)`,
  uint64: (at) => `d.getBigUint64(${at}, e)`,
  int64: (at) => `d.getBigInt64(${at}, e)`,
  float32: (at) => `d.getFloat32(${at}, e)`,
  float64: (at) => `d.getFloat64(${at}, e)`,
};

/** What the code calls. */
const RUNTIME = {
  ...cdr,
  isLittleEndian,
  NONE: [],
  zeros: (size: number, value: Literal) => new Array(size).fill(value),
  missing: (size: number) => Object.assign(new Array(size), { isMissing: true }),
};

/**
 * The JavaScript of a type's codec: the body of a function of {@link RUNTIME}.
 *
 * @param definition The message.
 * @param resolve Finds the messages it is made of.
 */
function codecSource(definition: MessageDefinition, resolve: Resolve): string {
  const { name, fields } = definition;
  const compiler = new Compiler(resolve);
  const size: string[] = [];
  compiler.size(fields, "v", name, size);
  const put: string[] = [];
  const puts = new Position(put, true);
  compiler.put(fields, "v", name, puts);
  puts.settle();
  const get: string[] = [];
  const gets = new Position(get, false);
  const value = compiler.get(fields, gets);
  const quoted = text(name);
  return `"use strict";
const { ${Object.keys(RUNTIME).join(", ")} } = runtime;
function size(v) {
let n = 4;
${size.join("\n")}
return n;
}
function encode(value, take) {
const v = objectOf(value, ${quoted});
const n = size(v);
const u = take === undefined ? new Uint8Array(n) : take(n);
const d = new DataView(u.buffer, u.byteOffset + 4, n - 4);
let o = 0, t;
u[0] = u[2] = u[3] = 0;
u[1] = 1;
${put.join("\n")}
return o + 4 === u.length ? u : u.subarray(0, o + 4);
}
function read(u, d, e, owned) {
let o = 0;
${get.join("\n")}
return ${value};
}
function decode(u, owned = false) {
const e = isLittleEndian(${quoted}, u);
const d = new DataView(u.buffer, u.byteOffset + 4, u.byteLength - 4);
try {
return read(u, d, e, owned);
} catch (error) {
if (error instanceof RangeError) throw badBytes(${quoted}, error.message, error);
throw error;
}
}
return { encode, decode };`;
}

/**
 * The codec of a message, as code of its own.
 *
 * @param definition The message.
 * @param resolve Finds the messages it is made of.
 */
export function compiledCodec(definition: MessageDefinition, resolve: Resolve): Codec {
  return new Function("runtime", codecSource(definition, resolve))(RUNTIME) as Codec;
}
