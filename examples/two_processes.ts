/**
 * Two processes that find each other: this file starts itself once more as a greeter, calls it,
 * ends it, and sees that it is gone.
 *
 * ```sh
 * deno run --allow-env=PATCHBAY_CONFIG,TEMP,TMP,TMPDIR,XDG_RUNTIME_DIR \
 *   --allow-read=$XDG_RUNTIME_DIR/patchbay --allow-write=$XDG_RUNTIME_DIR/patchbay \
 *   --allow-net=unix:$XDG_RUNTIME_DIR/patchbay/greeter.sock --allow-sys=uid --allow-run \
 *   examples/two_processes.ts
 * ```
 *
 * (`--allow-run` because it starts the other process, with the exact permissions that it needs.) It
 * prints:
 *
 * ```text
 * nobody is there yet: not_found
 * the directory has greeter, process …
 * Hello Ada, says process …, over uds
 * the answer came in … ms; 1000 more took … ms each
 * the greeter was told to stop, and exits with 143
 * nobody is there any more: not_found
 * ```
 *
 * @module
 */
import { bayPermissions, locateRuntimeDir } from "@patchbay/host";
import { defineCallable, Patchbay, PatchbayError } from "@patchbay/patchbay";

const Greet = defineCallable<string, string>({ address: "greeter/greet", idempotent: true });

/** What the other process does: it serves until it is told to stop. */
async function greeter(): Promise<void> {
  const bay = await Patchbay.open({ module: "greeter" });
  await bay.serve(Greet, (name) => `Hello ${name}, says process ${Deno.pid}`);
}

/** What this process does. */
async function visitor(): Promise<void> {
  await using bay = await Patchbay.open({ module: "visitor" });
  const greet = bay.callable(Greet);
  await greet.call("Ada").catch((error: PatchbayError) => {
    console.log(`nobody is there yet: ${error.code}`);
  });

  // The directory tells of every module that comes or goes.
  const here = Promise.withResolvers<string>();
  const unwatch = bay.directory?.watch(() => {
    const entry = bay.directory?.others.find(({ endpoints }) =>
      endpoints.some(({ address }) => address === Greet.address)
    );
    if (entry !== undefined) here.resolve(`${entry.module}, process ${entry.pid}`);
  });
  const other = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...bayPermissions({ module: "greeter", runtimeDir: locateRuntimeDir() }),
      import.meta.url,
      "greeter",
    ],
  }).spawn();
  console.log(`the directory has ${await here.promise}`);
  unwatch?.();

  const startedMs = performance.now();
  const greeting = await greet.call("Ada");
  const firstMs = performance.now() - startedMs;
  console.log(`${greeting}, over ${greet.transport}`);
  for (let i = 0; i < 1000; i++) await greet.call("Ada");
  const eachMs = (performance.now() - startedMs - firstMs) / 1000;
  console.log(
    `the answer came in ${firstMs.toFixed(2)} ms; 1000 more took ${eachMs.toFixed(2)} ms each`,
  );

  other.kill("SIGTERM");
  const { code } = await other.status;
  console.log(`the greeter was told to stop, and exits with ${code}`);
  await greet.call("Ada").catch((error: PatchbayError) => {
    console.log(`nobody is there any more: ${error.code}`);
  });
}

await (Deno.args[0] === "greeter" ? greeter() : visitor());
