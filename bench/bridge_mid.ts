/**
 * The middle of the bridge suite: `bridge_mid.ts FOLDER PORT` is the hub of websocket, serves what
 * `uds_far.ts` serves, and joins the two wires. Prints a line when it is ready, ends with its input.
 *
 * @module
 */

import { open } from "@patchbay/host";
import uds from "@patchbay/uds";
import websocket from "@patchbay/websocket";
import { MESSAGE, type Message } from "./uds_far.ts";

/** What a bay of this suite is opened with. */
export function openBoth(module: string, folder: string, config: Record<string, unknown>) {
  return open({
    builtins: [uds, websocket],
    module,
    discover: false,
    configFile: false,
    runtimeDirectory: folder,
    publishStatistics: false,
    config: { uds: {}, websocket: config },
  });
}

async function main([folder, port]: string[]): Promise<void> {
  const listen = { hostname: "127.0.0.1", port: Number(port) };
  const bay = await openBoth("mid", folder, { listen });
  await bay.serve("mid/add", (value) => {
    const { args } = value as Message;
    return { sum: args.x + args.y };
  }, { via: ["websocket"] });
  const speaker = await bay.speaker("mid/tick", { via: ["websocket"] });
  await bay.serve("mid/push", (count) => {
    (async () => {
      for (let left = count as number; left > 0; left--) {
        const held = speaker.shout(MESSAGE);
        if (held !== undefined) await held;
      }
    })();
  }, { via: ["websocket"] });
  const bridge = await bay.bridge({
    from: "uds",
    to: "websocket",
    match: "far/**",
    overflow: "block",
  });
  await bridge.refresh();
  console.log("ready");
  await Deno.stdin.read(new Uint8Array(1));
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
