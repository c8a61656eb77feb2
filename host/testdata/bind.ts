/**
 * Binds a socket when told to, and says what became of it: `bind.ts <path>`.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { listenUnix } from "@patchbay/host";

const [path] = Deno.args;
console.log("ready");
for await (const _ of Deno.stdin.readable) {
  try {
    await listenUnix({ path, onConnection: (connection) => connection.close() });
    console.log("bound");
  } catch (error) {
    if (!(error instanceof PatchbayError)) console.log(`uncaught ${error}`);
    else {console.log(
        error.remedy?.startsWith("run deno") ? `${error.code}: ${error.remedy}` : error.code,
      );}
  }
}
