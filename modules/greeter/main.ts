/**
 * greeter: greets by name; the smallest module there is.
 *
 * @module
 */

import { type Bay, defineCallable, type OpenOptions, Patchbay } from "@patchbay/patchbay";

/** Greets somebody: `patchbay call greeter/greet '{"name": "Ada"}'`. */
export const Greet = defineCallable<{ name: string }, string>({
  address: "greeter/greet",
  description: "greets somebody by name",
});

/**
 * Opens the module's bay and serves what it offers; close the bay to end it.
 *
 * @param options How to open the bay, where the defaults are not right: in tests.
 */
export async function start(options: OpenOptions = {}): Promise<Bay> {
  const bay = await Patchbay.open({ module: "greeter", ...options });
  await bay.serve(Greet, ({ name }) => `Hello ${name}`);
  return bay;
}

if (import.meta.main) {
  // The bay closes by itself on Ctrl-C.
  await start();
  console.log("greeter is ready; Ctrl-C ends it");
}
