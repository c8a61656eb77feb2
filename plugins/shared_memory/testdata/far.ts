/**
 * A bay in a process of its own: `far.ts FOLDER MODULE WIRE CODEC [CALL]`. It serves some addresses;
 * with CALL it calls that address without end. Prints a line when it is ready, and ends with its
 * input.
 *
 * @module
 */

import { HostDirectory } from "@patchbay/host";
import { open } from "@patchbay/core";
import sharedMemory from "../mod.ts";

/** What small calls carry: 85 bytes of JSON. */
export const MESSAGE = {
  method: "math.add",
  args: { x: 12345, y: 3.25, name: "left_grip", tags: ["a", "b"] },
};

/** Opens a bay in a runtime directory. */
export async function openIn(folder: string, module: string, wire: string, codec: string) {
  const { default: uds } = await import("../../uds/mod.ts");
  return await open({
    module,
    plugins: wire === "uds" ? [uds] : [sharedMemory],
    config: {
      [wire]: wire === "uds"
        ? { codec }
        : { codec, doorbell: Deno.env.get("DOORBELL") ?? "socket" },
    },
    maxMessageBytes: 16 * 1024 * 1024,
    directory: (identity) => HostDirectory.open(identity, { path: folder }),
  });
}

async function main([folder, module, wire, codec, call]: string[]): Promise<void> {
  const bay = await openIn(folder, module, wire, codec);
  await bay.serve(`${module}/echo`, (value) => value);
  await bay.serve(`${module}/length`, (value) => (value as Uint8Array).length);
  await bay.serve(`${module}/hang`, () => new Promise(() => {}));
  const raw = new Uint8Array(64).fill(7);
  const speaker = await bay.speaker(`${module}/tick`);
  await bay.serve(`${module}/push`, (what) => {
    const { count, kind } = what as { count: number; kind: string };
    (async () => {
      for (let left = count; left > 0; left--) {
        const held = speaker.shout(kind === "raw" ? raw : MESSAGE);
        if (held !== undefined) await held;
      }
    })();
  });
  if (call !== undefined) {
    const callable = bay.callable<unknown, unknown>(call);
    await callable.call(0);
    (async () => {
      for (let n = 1;; n++) await callable.call(n);
    })().catch(() => {});
  }
  console.log("ready");
  await Deno.stdin.read(new Uint8Array(1));
  await bay.close();
}

if (import.meta.main) await main(Deno.args);
