/**
 * Values by name, so that both sides of a wire can make the same one, and a text that describes a
 * value exactly, so that one side can tell the other what it got.
 *
 * @module
 */

/** Bytes in a pattern that shows a shift, a swap or a cut. */
export function patternBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16)) & 255;
  return bytes;
}

/** Portable values by name. */
export const PORTABLE: Readonly<Record<string, () => unknown>> = {
  "null": () => null,
  "false": () => false,
  "zero": () => 0,
  "a fraction": () => -1.5e-7,
  "the largest safe integer": () => Number.MAX_SAFE_INTEGER,
  "the largest number": () => Number.MAX_VALUE,
  "an empty string": () => "",
  "unicode": () => 'Grüße, 世界 👩‍🚀\u0000\u2028 "quoted" \\ \n end',
  "no bytes": () => new Uint8Array(0),
  "bytes that are no UTF-8": () => Uint8Array.of(0xff, 0xfe, 0xc0, 0x80, 0x00, 0xed, 0xa0, 0x80),
  "every byte": () => Uint8Array.from({ length: 256 }, (_, i) => i),
  "a view into a larger buffer": () => patternBytes(100).subarray(13, 57),
  "a large bigint": () => 2n ** 63n - 1n,
  "a negative bigint": () => -(2n ** 63n),
  "an empty array": () => [],
  "an empty object": () => ({}),
  "nested values": () => ({
    list: [1, [2, [3, { deep: new Uint8Array([1, 2, 3]), big: 12345678901234567890n }]]],
    "a key with spaces / and ünïcode": { a: null, b: true, c: "" },
    "": "the empty key",
  }),
  "a wide object": () => Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, i])),
  "a deep array": () => {
    let value: unknown = "the bottom";
    for (let i = 0; i < 100; i++) value = [value];
    return value;
  },
};

/** Values that no wire carries, by name, with the path that the refusal must name. */
export const UNPORTABLE: Readonly<Record<string, { make: () => unknown; path: string }>> = {
  "a Date": { make: () => ({ when: [new Date(0)] }), path: "when[0]" },
  "a function": { make: () => ({ run: () => 1 }), path: "run" },
  "NaN": { make: () => [1, { bad: NaN }], path: "[1].bad" },
  "a Map": { make: () => ({ table: new Map([[1, 2]]) }), path: "table" },
  "a symbol": { make: () => ({ tag: Symbol("tag") }), path: "tag" },
};

/**
 * A value by name: one of the tables above, or `bytes:N`, or `undefined`.
 *
 * @param name The name.
 */
export function make(name: string): unknown {
  if (name === "undefined") return undefined;
  if (name.startsWith("bytes:")) return patternBytes(Number(name.slice(6)));
  const recipe = PORTABLE[name] ?? UNPORTABLE[name]?.make;
  if (recipe === undefined) throw new Error(`no recipe ${name}`);
  return recipe();
}

/** FNV-1a, 32 bits. */
function hash(bytes: Uint8Array): number {
  let sum = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) sum = Math.imul(sum ^ bytes[i], 0x01000193);
  return sum >>> 0;
}

/**
 * A text that two values share only if they are the same value to a portable eye.
 *
 * @param value The value.
 */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (value instanceof Uint8Array) return `bytes(${value.length}, ${hash(value)})`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(describe).join()}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).filter(([, v]) => v !== undefined);
    // Key order is no part of a value.
    entries.sort(([a], [b]) => a < b ? -1 : 1);
    return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${describe(v)}`).join()}}`;
  }
  return String(value);
}
