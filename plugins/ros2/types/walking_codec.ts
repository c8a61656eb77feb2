/**
 * The codec that walks a definition for each message: slow and plain. It serves where code may not
 * be generated, and as the judge of the one that is.
 *
 * @module
 */

import {
  badBytes,
  bigintOf,
  booleanOf,
  cursor,
  getBytes,
  getLength,
  getNumbers,
  getText,
  getWide,
  integerOf,
  isBytes,
  type List,
  listOf,
  LITTLE_ENDIAN_HEADER,
  numberOf,
  objectOf,
  putNumbers,
  putText,
  putWide,
  scalarDefault,
  textBytes,
  textOf,
} from "./cdr.ts";
import {
  type Field,
  type FieldType,
  INTEGER_BITS,
  type Literal,
  type MessageDefinition,
  type Primitive,
  PRIMITIVE_BYTES,
} from "./definition.ts";

/** Gives exactly so many bytes. */
export type TakeBytes = (bytes: number) => Uint8Array<ArrayBuffer>;

/** Turns messages into payloads and back. */
export interface Codec {
  /**
   * Encodes a value; fields that are left out have their defaults. `take` gives so many bytes to
   * write into, whatever they hold; default: fresh ones. Not every codec asks it.
   */
  encode(value: unknown, take?: TakeBytes): Uint8Array<ArrayBuffer>;
  /** Decodes a payload; `owned`: byte arrays may be views of it. */
  decode(payload: Uint8Array, owned?: boolean): unknown;
}

/** Finds a message by its full name. */
export type Resolve = (name: string) => MessageDefinition;

class Out {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(256);
  view: DataView<ArrayBuffer> = new DataView(this.bytes.buffer, 4);
  at = 0;

  align(to: number): void {
    this.at = (this.at + to - 1) & ~(to - 1);
  }

  reserve(more: number): void {
    const wanted = this.at + more + 16;
    if (wanted <= this.view.byteLength) return;
    const grown = new Uint8Array(Math.max(2 * this.bytes.length, wanted + 4));
    grown.set(this.bytes);
    this.bytes = grown;
    this.view = new DataView(grown.buffer, 4);
  }
}

function zeros(type: FieldType): Literal[] {
  const size = type.array?.kind === "fixed" ? type.array.size : 0;
  return Array.from({ length: size }, () => scalarDefault(type, undefined));
}

function put(out: Out, resolve: Resolve, field: Field, value: unknown, path: string): void {
  const { type } = field;
  const { array, base } = type;
  if (array === undefined) {
    return putScalar(out, resolve, type, value, field.default, path);
  }
  const otherwise = (field.default ??
    (base === "message"
      ? Array.from({ length: array.kind === "fixed" ? array.size : 0 })
      : zeros(type))) as List;
  const list = listOf(value, otherwise, path, array.kind, array.size);
  if (array.kind !== "fixed") {
    out.align(4);
    out.reserve(4);
    out.view.setUint32(out.at, list.length, true);
    out.at += 4;
  }
  if (base === "message" || base === "string" || base === "wstring") {
    const one = { ...type, array: undefined };
    for (let i = 0; i < list.length; i++) {
      // What stands in a list is there: only a whole field can be left out.
      const element = list[i] ?? (base === "message" && list === otherwise ? undefined : null);
      putScalar(out, resolve, one, element, undefined, `${path}[${i}]`);
    }
    return;
  }
  if (list.length === 0) return;
  const size = PRIMITIVE_BYTES[base];
  out.align(size);
  out.reserve(size * list.length);
  putNumbers(out.bytes, out.view, out.at, list, base, path);
  out.at += size * list.length;
}

function putScalar(
  out: Out,
  resolve: Resolve,
  type: FieldType,
  value: unknown,
  given: Literal | undefined,
  path: string,
): void {
  const { base } = type;
  if (base === "message") {
    const object = objectOf(value, path);
    for (const field of resolve(type.message as string).fields) {
      put(out, resolve, field, object[field.name], `${path}.${field.name}`);
    }
    return;
  }
  const otherwise = scalarDefault(type, given);
  if (base === "string" || base === "wstring") {
    const text = textOf(value, otherwise as string, path, type.stringBound);
    out.align(4);
    if (base === "string") {
      out.reserve(textBytes(text));
      out.at = putText(out.bytes, out.view, out.at, text);
    } else {
      out.reserve(4 + 4 * text.length);
      out.at = putWide(out.view, out.at, text);
    }
    return;
  }
  const size = PRIMITIVE_BYTES[base];
  out.align(size);
  out.reserve(size);
  putPrimitive(out.view, out.at, base, value, otherwise, path);
  out.at += size;
}

function putPrimitive(
  view: DataView,
  at: number,
  base: Primitive,
  value: unknown,
  otherwise: Literal,
  path: string,
): void {
  if (base === "bool") return view.setUint8(at, booleanOf(value, otherwise as boolean, path));
  if (base === "float64") {
    return view.setFloat64(at, numberOf(value, otherwise as number, path), true);
  }
  if (base === "float32") {
    return view.setFloat32(at, numberOf(value, otherwise as number, path), true);
  }
  const bits = INTEGER_BITS[base] as number;
  if (Math.abs(bits) === 64) {
    const big = bigintOf(value, otherwise as bigint, path, bits < 0);
    return bits < 0 ? view.setBigInt64(at, big, true) : view.setBigUint64(at, big, true);
  }
  const whole = integerOf(value, otherwise as number, path, bits);
  // Two's complement: the bits of a negative number are those of an unsigned one.
  if (Math.abs(bits) === 8) view.setUint8(at, whole);
  else if (Math.abs(bits) === 16) view.setUint16(at, whole, true);
  else view.setUint32(at, whole, true);
}

/** The least that a type takes, so that lengths can be judged before memory is taken. */
export function leastBytes(type: FieldType, resolve: Resolve): number {
  const { array, base } = type;
  if (array !== undefined && array.kind !== "fixed") return 4;
  const count = array?.size ?? 1;
  if (base === "string" || base === "wstring") return 4 * count;
  if (base !== "message") return PRIMITIVE_BYTES[base] * count;
  const { fields } = resolve(type.message as string);
  return count * fields.reduce((sum, field) => sum + leastBytes(field.type, resolve), 0);
}

class In {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly little: boolean;
  readonly owned: boolean;
  at = 0;

  constructor(bytes: Uint8Array, little: boolean, owned: boolean) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset + 4, bytes.byteLength - 4);
    this.little = little;
    this.owned = owned;
  }

  align(to: number): void {
    this.at = (this.at + to - 1) & ~(to - 1);
  }
}

function get(from: In, resolve: Resolve, type: FieldType): unknown {
  const { array, base } = type;
  const { view, little } = from;
  if (array === undefined) return getScalar(from, resolve, type);
  let length = array.size;
  const one = { ...type, array: undefined };
  if (array.kind !== "fixed") {
    from.align(4);
    length = getLength(view, from.at, little, leastBytes(one, resolve), array.size);
    from.at += 4;
  }
  if (base === "message" || base === "string" || base === "wstring") {
    const list: unknown[] = [];
    for (let i = 0; i < length; i++) list.push(getScalar(from, resolve, one));
    return list;
  }
  const size = PRIMITIVE_BYTES[base];
  if (length > 0) from.align(size);
  const { at } = from;
  from.at += size * length;
  return isBytes(base)
    ? getBytes(from.bytes, at, length, from.owned)
    : getNumbers(view, at, length, base, little);
}

function getScalar(from: In, resolve: Resolve, type: FieldType): unknown {
  const { base } = type;
  const { view, little } = from;
  if (base === "message") {
    const value: Record<string, unknown> = {};
    for (const field of resolve(type.message as string).fields) {
      value[field.name] = get(from, resolve, field.type);
    }
    return value;
  }
  if (base === "string" || base === "wstring") {
    from.align(4);
    const text = base === "string"
      ? getText(from.bytes, view, from.at, little)
      : getWide(view, from.at, little);
    from.at = cursor.at;
    return text;
  }
  const size = PRIMITIVE_BYTES[base];
  from.align(size);
  const [value] = getNumbers(view, from.at, 1, base, little);
  from.at += size;
  return value;
}

/**
 * Reads the header of a payload.
 *
 * @returns Whether its numbers are little-endian.
 * @throws {PatchbayError} `protocol` for another encoding than CDR of version 1.
 */
export function isLittleEndian(name: string, payload: Uint8Array): boolean {
  if (payload.length < 4) throw badBytes(name, `${payload.length} bytes hold no header`);
  if (payload[0] !== 0 || payload[1] > 1) {
    throw badBytes(name, `its encoding ${payload[0] << 8 | payload[1]} is not plain CDR`);
  }
  return payload[1] === 1;
}

/**
 * The codec of a message.
 *
 * @param definition The message.
 * @param resolve Finds the messages it is made of.
 */
export function walkingCodec(definition: MessageDefinition, resolve: Resolve): Codec {
  const { name, fields } = definition;
  return {
    encode(value) {
      const out = new Out();
      out.bytes.set(LITTLE_ENDIAN_HEADER);
      const object = objectOf(value, name);
      for (const field of fields) {
        put(out, resolve, field, object[field.name], `${name}.${field.name}`);
      }
      return out.bytes.slice(0, 4 + out.at);
    },
    decode(payload, owned = false) {
      const from = new In(payload, isLittleEndian(name, payload), owned);
      try {
        const value: Record<string, unknown> = {};
        for (const field of fields) value[field.name] = get(from, resolve, field.type);
        return value;
      } catch (error) {
        if (error instanceof RangeError) throw badBytes(name, error.message, error);
        throw error;
      }
    },
  };
}
