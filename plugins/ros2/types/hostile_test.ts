/**
 * Payloads that lie about their lengths: both codecs refuse them before they take memory.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Types } from "./mod.ts";

const DEFINITIONS = {
  "h/msg/Nothing": "",
  "h/msg/Inner": "uint8 a\nfloat64[] deep\nstring name",
  "h/msg/Lists":
    "Nothing[] empties\nstring[] texts\nwstring wide\nbool[] flags\nuint8[] bytes\nInner[] inner",
};
const HEADER = [0, 1, 0, 0];
const MOST = [255, 255, 255, 255];
const NONE = [0, 0, 0, 0];
/** What lies about its length, behind fields that are empty. */
const LIES: Readonly<Record<string, number[]>> = {
  "messages without fields": [...MOST],
  strings: [...NONE, ...MOST],
  "a string in a list": [...NONE, 1, 0, 0, 0, ...MOST, 65],
  "a wide string": [...NONE, ...NONE, ...MOST],
  booleans: [...NONE, ...NONE, ...NONE, ...MOST],
  bytes: [...NONE, ...NONE, ...NONE, ...NONE, ...MOST],
  messages: [...NONE, ...NONE, ...NONE, ...NONE, ...NONE, ...MOST],
  "a list within a message": [
    ...[...NONE, ...NONE, ...NONE, ...NONE, ...NONE, 1, 0, 0, 0, 7, 0, 0, 0],
    ...MOST,
    ...new Array(16).fill(0),
  ],
};

for (const compile of [true, false]) {
  const type = new Types({ definitions: DEFINITIONS, compile }).message("h/msg/Lists");
  for (const [what, bytes] of Object.entries(LIES)) {
    Deno.test(`hostile: ${what}, 2^32 − 1 of them, are refused (${compile ? "compiled" : "walking"})`, () => {
      // In either byte order the number is the same.
      for (const order of [0, 1]) {
        const payload = Uint8Array.from([...HEADER.with(1, order), ...bytes]);
        assert.throws(() => type.decode(payload), { code: "protocol" });
      }
    });
  }
}
