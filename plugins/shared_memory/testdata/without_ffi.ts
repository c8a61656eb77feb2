/**
 * Prints what the plugin says of a process without `--allow-ffi`.
 *
 * @module
 */

import sharedMemory from "../mod.ts";

console.log(JSON.stringify(await sharedMemory.available({} as never)));
