/**
 * Opens a bay with the permissions it was given, and says what it has: `sandboxed.ts <folder>`.
 *
 * @module
 */

import { listenUnix, open, requireHostDirectory, socketPath } from "@patchbay/host";
import { fakePlugin } from "./support.ts";

const [folder] = Deno.args;
const needy = fakePlugin("needy", {
  open: (context) => {
    requireHostDirectory(context);
    return Promise.reject(new Error("it has a directory"));
  },
});
const bay = await open({ builtins: [needy], module: "arm", runtimeDirectory: folder });
if (bay.directory === undefined) {
  const [wire] = bay.wires();
  console.log(`no directory: unavailable: ${wire.remedy}`);
} else {
  console.log(`directory ${bay.identity.instance}`);
  const path = socketPath(folder, bay.identity.instance);
  await using _ = await listenUnix({ path, onConnection: () => {} });
  console.log("listening");
}
await bay.close();
if (bay.directory !== undefined) console.log("closed");
