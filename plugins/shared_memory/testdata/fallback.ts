/**
 * Serves or calls over `via: ["shared_memory", "uds"]`, with whatever permissions it was given:
 * `fallback.ts FOLDER serve|call`. Prints one line of JSON.
 *
 * @module
 */

import { open, PatchbayError } from "@patchbay/core";
import { HostDirectory } from "@patchbay/host";
import uds from "../../uds/mod.ts";
import sharedMemory from "../mod.ts";

const [folder, what] = Deno.args;
const via = ["shared_memory", "uds"] as const;
await using bay = await open({
  module: what === "serve" ? "far" : "near",
  plugins: [sharedMemory, uds],
  directory: (identity) => HostDirectory.open(identity, { path: folder }),
});
if (what === "serve") {
  await bay.serve("far/who", (_, { peer }) => peer?.transport, { via });
  console.log(JSON.stringify("ready"));
  await Deno.stdin.read(new Uint8Array(1));
} else {
  const transport = await bay.call("far/who", null, { via });
  const only = await bay.call("far/who", null, { via: ["shared_memory"] })
    .catch((error) => PatchbayError.fromThrown(error));
  const refused = only instanceof PatchbayError
    ? { code: only.code, message: only.message, remedy: only.remedy }
    : only;
  console.log(JSON.stringify({ transport, only: refused }));
}
