/**
 * For tests: a hub in a process of its own. It can flood its listeners, and tells its memory.
 *
 * Run as `hub.ts PORT [SHOUTS [DEFLATE]]`.
 *
 * @module
 */

import { open } from "@patchbay/core";
import websocket from "../node.ts";

const [port, shouts = "0", deflate = "false"] = Deno.args;
await using bay = await open({
  module: "hub",
  plugins: [websocket],
  config: {
    websocket: {
      listen: { hostname: "127.0.0.1", port: Number(port), perMessageDeflate: deflate === "true" },
      // Nobody is taken for dead here: it is the memory that is looked at.
      pingTimeoutMs: 120_000,
    },
  },
});
const speaker = await bay.speaker<Uint8Array>("hub/flood");
const say = (line: unknown) => console.log(JSON.stringify(line));
const turn = () => new Promise<void>((resolve) => setTimeout(resolve));
say("ready");
for await (const chunk of Deno.stdin.readable) {
  if (new TextDecoder().decode(chunk).trim() !== "flood") continue;
  while (speaker.listeners === 0) await turn();
  const value = new Uint8Array(4096);
  const rss = () => Deno.memoryUsage().rss;
  for (let n = 0; n < 2000; n++) {
    speaker.shout(value);
    if (n % 64 === 0) await turn();
  }
  const before = rss();
  let most = before;
  for (let n = 0; n < Number(shouts); n++) {
    speaker.shout(value);
    if (n % 64 !== 0) continue;
    await turn();
    most = Math.max(most, rss());
  }
  const { endpoints } = bay.statistics.snapshot(Date.now());
  const drops = endpoints.find((each) => each.address === "hub/flood")?.drops;
  say({ grownBytes: most - before, drops });
}
