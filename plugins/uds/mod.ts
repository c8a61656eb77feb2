/**
 * uds: the three patterns between processes of one host, over Unix domain sockets. Frames behind a
 * length, sockets 0600 in a 0700 directory.
 *
 * @module
 */

import { createUds, type Uds } from "./plugin.ts";

export type { Uds, UdsExtras } from "./plugin.ts";

/** The plugin. */
const uds: Uds = createUds();

export default uds;
