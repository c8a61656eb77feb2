/**
 * The program that the open suite starts: `open_program.ts empty|bay`. Prints when it got there, in
 * milliseconds since the epoch.
 *
 * @module
 */

if (Deno.args[0] === "bay") {
  const { Patchbay } = await import("@patchbay/patchbay");
  await using _bay = await Patchbay.open({
    module: "bench",
    runtimeDirectory: Deno.args[1],
    configFile: false,
    discover: false,
  });
  console.log(performance.timeOrigin + performance.now());
} else console.log(performance.timeOrigin + performance.now());
