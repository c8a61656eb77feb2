/**
 * What the built-in wires promise. Weakening a promise needs a decision note (DESIGN, section 2).
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Capabilities, Scope, Traits } from "@patchbay/core";
import { builtins } from "@patchbay/patchbay";

interface Promised {
  readonly scope: Scope;
  readonly capabilities: Capabilities;
  readonly traits: Traits;
}

const ALL: Capabilities = { callable: true, speaker: true, job: true };

const PROMISED: Readonly<Record<string, Promised>> = {
  in_process: {
    scope: "process",
    capabilities: ALL,
    traits: {
      ordered: true,
      delivery: "at_most_once",
      retained: true,
      headers: true,
      job: "native",
      maxPayloadBytes: Infinity,
      zeroCopy: true,
      values: true,
      backpressure: true,
      noticesDeath: true,
    },
  },
  uds: {
    scope: "host",
    capabilities: ALL,
    traits: {
      ordered: true,
      delivery: "at_most_once",
      retained: true,
      headers: true,
      job: "native",
      maxPayloadBytes: 1024 * 1024 * 1024,
      zeroCopy: false,
      values: false,
      backpressure: true,
      noticesDeath: true,
    },
  },
};

Deno.test("traits: the built-in wires promise what the table says", () => {
  assert.deepEqual(builtins.map((plugin) => plugin.name).sort(), Object.keys(PROMISED).sort());
  for (const { name, scope, capabilities, traits } of builtins) {
    assert.deepEqual({ scope, capabilities, traits }, PROMISED[name], name);
  }
});
