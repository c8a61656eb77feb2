/**
 * Runs the light, as a line on the terminal.
 *
 * @module
 */

import { runModule } from "@patchbay/bus";
import { frames } from "../frames/frames.ts";
import { Led } from "./module.ts";

const show = (on: boolean) => console.log(on ? "led: ● on" : "led: ○ off");

if (import.meta.main) {
  // By frames, not by time: it does nothing until it is told something.
  await runModule((comm) => new Led(comm, show).start(), {
    module: "led",
    frames,
    rateHz: "frames",
  });
}
