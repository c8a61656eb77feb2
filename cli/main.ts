/**
 * Runs the `patchbay` command: `deno run -A jsr:@patchbay/cli/main`.
 *
 * @module
 */

import { main } from "./mod.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
