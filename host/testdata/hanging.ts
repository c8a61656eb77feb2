/**
 * Looks for plugins in a folder where one hangs: `hanging.ts <folder>`.
 *
 * @module
 */

import { discover } from "@patchbay/host";

const { plugins, broken } = await discover({ directories: [Deno.args[0]], timeoutMs: 300 });
console.log(plugins.map(({ plugin }) => plugin.name).join());
for (const { name, reason } of broken) console.log(`${name}: ${reason}`);
// Deno fails a program that ends by itself while an import of it still waits for nothing.
Deno.exit(0);
