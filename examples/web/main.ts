/**
 * A page that plots, calls, runs a job, and has a worker of its own: `deno task web`.
 *
 * `--port N` chooses the port; `--no-isolation` leaves out the headers that let the page share
 * memory with its worker, which then talks by messages.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { onShutdown } from "@patchbay/patchbay";
import { serveWeb } from "./server.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    port: { type: "string", default: "8000" },
    "no-isolation": { type: "boolean", default: false },
  },
});
const web = await serveWeb({ port: Number(values.port), isolated: !values["no-isolation"] });
console.log(`open ${web.url}  (Ctrl-C ends it)`);
onShutdown(web);
