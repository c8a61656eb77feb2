/**
 * Cleaning up: what is left in the runtime directory while a bay is open, after `await using`, and
 * after a signal.
 *
 * ```sh
 * deno run --allow-env=PATCHBAY_CONFIG,XDG_RUNTIME_DIR \
 *   --allow-read=$XDG_RUNTIME_DIR/patchbay --allow-write=$XDG_RUNTIME_DIR/patchbay \
 *   --allow-net=unix:$XDG_RUNTIME_DIR/patchbay/lamp.sock --allow-run \
 *   examples/cleanup.ts
 * ```
 *
 * (`--allow-run` because it sends itself a signal.) It prints:
 *
 * ```text
 * open: lamp.json lamp.lock lamp.sock
 * a second close is harmless: true
 * after the block: nothing
 * a call after that: closed, the bay of lamp is closed
 * open again: lamp.json lamp.lock lamp.sock
 * kill -TERM …
 * closing what was opened last first
 * after the signal: nothing
 * ```
 *
 * @module
 */
import { onShutdown, Patchbay, PatchbayError } from "@patchbay/patchbay";
import { locateRuntimeDir } from "@patchbay/host";

/** The files of the lamp in the runtime directory. */
function files(): string {
  const names = [...Deno.readDirSync(locateRuntimeDir())].map((file) => file.name);
  return names.filter((name) => name.startsWith("lamp")).sort().join(" ") || "nothing";
}

const closed = await (async () => {
  // Closed at the end of the block, whichever way it is left: what is served is taken off the
  // wires, calls in flight may finish (5 s at most), sockets and entries are removed.
  await using bay = await Patchbay.open({ module: "lamp" });
  await bay.serve("lamp/on", () => true);
  console.log(`open: ${files()}`);
  await bay.close();
  await bay.close();
  console.log(`a second close is harmless: ${bay.closed}`);
  return bay;
})();
console.log(`after the block: ${files()}`);
try {
  await closed.call("lamp/on", null);
} catch (error) {
  if (!(error instanceof PatchbayError)) throw error;
  console.log(`a call after that: ${error.code}, ${error.message}`);
}

// A bay closes by itself on SIGINT, SIGTERM and SIGQUIT; the process then exits with 128 + the
// signal's number. `onShutdown` says what else is to be closed, and with which code to exit.
const bay = await Patchbay.open({ module: "lamp" });
await bay.serve("lamp/on", () => true);
console.log(`open again: ${files()}`);
using _ = onShutdown([
  () => console.log(`after the signal: ${files()}`),
  bay,
  () => console.log("closing what was opened last first"),
], { exitCode: 0 });
console.log("kill -TERM $$");
Deno.kill(Deno.pid, "SIGTERM");

// A lamp that is on until it is told otherwise.
await new Promise<never>(() => setInterval(() => {}, 1000));
