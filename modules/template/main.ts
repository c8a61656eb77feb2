/**
 * Runs the template module, twenty times a second.
 *
 * @module
 */

import { runModule } from "@patchbay/bus";
import { frames } from "../frames/frames.ts";
import { Template } from "./module.ts";

if (import.meta.main) {
  await runModule((comm) => new Template(comm).start(), {
    module: "template",
    frames,
    rateHz: 20,
  });
}
