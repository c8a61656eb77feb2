/**
 * A process in a directory: `member.ts <folder> <instance> [address…]`. Says `ready`, `claimed` or
 * `refused …`, and stays until it is told to `close` or killed.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { HostDirectory, listenUnix, socketPath } from "@patchbay/host";

const [folder, instance, ...addresses] = Deno.args;
const id = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
const directory = await HostDirectory.open({ id, module: instance, instance }, { path: folder });
const listener = await listenUnix({
  path: socketPath(folder, instance),
  onConnection: (connection) => connection.close(),
});
await directory.listening("uds", listener.path);
console.log("ready");

const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
for await (const text of lines) {
  if (text.includes("claim")) {
    try {
      for (const address of addresses) {
        await directory.add({ pattern: "callable", role: "server", address, wires: ["uds"] });
      }
      console.log("claimed");
    } catch (error) {
      console.log(`refused ${error instanceof PatchbayError ? error.message : error}`);
    }
  }
  if (text.includes("close")) break;
}
await directory.close();
await listener.close();
console.log("closed");
