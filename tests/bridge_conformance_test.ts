/**
 * The conformance suite through a bridge: the two bays of each case sit on two different wires, and
 * nothing but a bridge joins them.
 *
 * @module
 */

import { type Bay, open } from "@patchbay/core";
import { conformance, type Fixture, type Meeting } from "@patchbay/core/conformance";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import inProcess, { Room } from "@patchbay/in_process";
import uds from "@patchbay/uds";
import websocket from "@patchbay/websocket";

const NO_WIRE = "the bridge joins two wires; each of them has its own conformance tests";

/** A bridge between in_process, where the far bay is, and uds, where everybody else is. */
async function meeting(): Promise<Meeting> {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const directory: NonNullable<Parameters<typeof open>[0]["directory"]> = (identity) =>
    HostDirectory.open(identity, { path, processWires: ["in_process"] });
  const config = { in_process: { room: new Room() }, uds: { reconnectMinMs: 10 } };
  const bridge: Bay = await open({
    module: "bridge",
    plugins: [inProcess, uds],
    config,
    directory,
    maxMessageBytes: 64 * 1024 * 1024,
  });
  const joint = await bridge.bridge({ from: "in_process", to: "uds", overflow: "block" });
  return {
    options: (module, overrides) =>
      module === "far"
        ? {
          ...overrides,
          module,
          plugins: [inProcess],
          config: { in_process: { room: config.in_process.room } },
        }
        : {
          ...overrides,
          module,
          plugins: [uds],
          config: { uds: { reconnectMinMs: 10 } },
          directory,
        },
    settle: async () => {
      if (!bridge.closed) await joint.refresh();
    },
    [Symbol.asyncDispose]: async () => {
      await bridge.close();
      await Deno.remove(parent, { recursive: true });
    },
  };
}

const fixture: Fixture = {
  plugin: uds,
  name: "through a bridge (in_process, uds)",
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
  meeting,
};

conformance(fixture);
void websocket;
