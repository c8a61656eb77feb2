/**
 * A manager in a process of its own: `manager_process.ts UNIX-SOCKET`. Prints where it listens as
 * JSON, and serves `test/state`: what it holds after a garbage collection (run with `--expose-gc`).
 */
import { open } from "@patchbay/core";
import { createBus } from "../plugin.ts";

let reports = 0;
let unhandled = 0;
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  unhandled++;
});
const bus = createBus();
const bay = await open({
  module: "manager",
  plugins: [bus] as const,
  config: { bus: { listen: { port: 0, path: Deno.args[0] } } },
  onReport: () => void reports++,
});
const extras = bay.transport(bus);
await bay.serve("test/state", async () => {
  // Buffers are freed a turn after the objects that hold them, and some after those.
  for (let rounds = 0; rounds < 3; rounds++) {
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve));
  }
  const { heapUsed, external } = Deno.memoryUsage();
  return {
    heapBytes: heapUsed + external,
    connections: bay.statistics.transport("bus").connections,
    modules: extras.modules().map(({ name }) => name).sort(),
    descriptors: Deno.build.os === "linux" ? [...Deno.readDirSync("/proc/self/fd")].length : 0,
    reports,
    unhandled,
  };
});
console.log(JSON.stringify(extras.where));
