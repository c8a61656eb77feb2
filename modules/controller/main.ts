/**
 * Runs the controller.
 *
 * @module
 */

import { runModule } from "@patchbay/bus";
import { frames } from "../frames/frames.ts";
import { Controller } from "./module.ts";

if (import.meta.main) {
  await runModule((comm) => new Controller(comm).start(), {
    module: "controller",
    frames,
    rateHz: "frames",
  });
}
