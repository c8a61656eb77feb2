/**
 * Runs the button: Enter on the terminal presses it and lets it go; without a terminal it is
 * pressed for every second second.
 *
 * @module
 */

import { runModule } from "@patchbay/bus";
import { frames } from "../frames/frames.ts";
import { Button } from "./module.ts";

let pressed = false;
if (Deno.stdin.isTerminal()) {
  console.log("Enter presses the button, and lets it go again; Ctrl-C ends.");
  void (async () => {
    for await (const _ of Deno.stdin.readable) pressed = !pressed;
  })();
}
const read = Deno.stdin.isTerminal()
  ? () => pressed
  : () => Math.floor(Date.now() / 1000) % 2 === 1;

if (import.meta.main) {
  await runModule((comm) => new Button(comm, read).start(), { module: "button", frames });
}
