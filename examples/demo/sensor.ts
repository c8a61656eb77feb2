/**
 * The sensor of the demo: shouts a pose 100 times a second, and a temperature twice a second.
 *
 * @module
 */
import { onShutdown, Patchbay } from "@patchbay/patchbay";
import { Pose, Temperature } from "./contracts.ts";
import { conductorHasGone } from "./life.ts";

await using bay = await Patchbay.open({
  module: "sensor",
  runtimeDirectory: Deno.args[0],
  configFile: false,
  discover: false,
});
await using temperature = await bay.speaker(Temperature);
await using pose = await bay.speaker(Pose);

const startedMs = performance.now();
let poses = 0;
// A timer that fires late makes up for it, so that it is 100 a second and not nearly 100.
const timer = setInterval(() => {
  for (const due = (performance.now() - startedMs) / 10; poses < due; poses++) {
    const t = poses / 100;
    pose.shout({ x: Math.cos(t), y: Math.sin(t), heading: (t * 180 / Math.PI + 90) % 360 });
    if (poses % 50 === 0) temperature.shout(40 + 5 * Math.sin(t / 3));
  }
}, 5);

// Closed first on a signal: a speaker that is closed already would refuse the next shout.
using _ = onShutdown(() => clearInterval(timer));

await conductorHasGone();
clearInterval(timer);
