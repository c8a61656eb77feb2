/**
 * The conformance suite through a bridge: the two bays of each case sit on two different wires, and
 * nothing but a bridge joins them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CASES, conformance, type Fixture, type Meeting } from "@patchbay/core/conformance";
import type { Plugin } from "@patchbay/core";
import inProcess from "@patchbay/in_process";
import uds from "@patchbay/uds";
import websocket from "@patchbay/websocket";
import { type WireName, World } from "./bridge_world.ts";

const NO_WIRE = "the bridge joins two wires; each of them has its own conformance tests";
/** What the bridge lets through: the limits under test are those of the two sides. */
const MAX_BYTES = 64 * 1024 * 1024;

const PLUGINS = { in_process: inProcess, uds, websocket } as const;

/** A bridge between the wire of the far bay and that of everybody else. */
async function meeting(near: keyof typeof PLUGINS, far: WireName): Promise<Meeting> {
  const world = await World.make();
  const wires = [near, far];
  const bay = await world.open("bridge", wires, {
    maxMessageBytes: MAX_BYTES,
    hub: wires.includes("websocket"),
  });
  const joint = await bay.bridge({ from: near, to: far, overflow: "block" });
  return {
    options: (module, overrides) => ({
      ...world.options(module, [module === "far" ? far : near]),
      ...overrides,
    }),
    settle: () => joint.refresh(),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

function between(near: keyof typeof PLUGINS, far: WireName): Fixture {
  return {
    plugin: PLUGINS[near] as Plugin,
    name: `bridge ${near} ↔ ${far}`,
    url: import.meta.url,
    layouts: ["same_process"],
    lacks: {
      alone: NO_WIRE,
      two_processes: NO_WIRE,
      sever: NO_WIRE,
      stranger: NO_WIRE,
      unavailable: NO_WIRE,
    },
    largestPayloadBytes: 16 * 1024 * 1024,
    meeting: () => meeting(near, far),
  };
}

/** What is otherwise behind a bridge, and why. `bridge_test.ts` tests each in its own way. */
const OTHERWISE: Readonly<Record<string, string>> = {
  "callable: the context says who, what, how long, and what was sent along":
    "the peer is the bridge, the only one that the far side can authenticate",
  "job: the handle says where it runs, how far it is and where it stands":
    "the peer is the bridge, the only one that the far side can authenticate",
  "speaker: leaving the loop unsubscribes, at the speaker too":
    "the bridge goes on listening, so that listen() may resolve when the bridge has acknowledged",
  "listener: fail gives what came without a gap, then ends with overloaded":
    "the bridge goes on listening when the one behind it has failed",
  "listener: block loses nothing and holds the speaker back":
    "the bridge has a queue of its own, which is filled before the speaker is held",
  "listener: one that is never read is bounded, and every drop is counted somewhere":
    "what is dropped is counted at the bridge, not at the speaker",
};

Deno.test("bridge: what is left out of the suite is there to be left out", () => {
  const names = new Set(CASES.map((one) => one.name));
  assert.deepEqual([...Object.keys(OTHERWISE), LATE].filter((name) => !names.has(name)), []);
});

const cases = CASES.filter((one) => OTHERWISE[one.name] === undefined);
conformance(between("uds", "in_process"), cases);
const LATE = "speaker: a late listener gets the last value, if it asks and the speaker keeps it";
// The hub may hear a shout of its client after the bridge has acknowledged a listener: it is fresh
// then. `bridge_test.ts` waits for the bridge to have heard it.
conformance(between("uds", "websocket"), cases.filter((one) => one.name !== LATE));
conformance(between("websocket", "uds"), cases);
