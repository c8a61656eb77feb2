/**
 * bus: typed frames and the three patterns between modules, through a manager.
 *
 * @module
 */

import { type BusPlugin, createBus } from "./plugin.ts";

export type { BusConfig, BusExtras, BusListenAddress, BusPlugin } from "./plugin.ts";

/** The plugin. */
const bus: BusPlugin = createBus();

export default bus;
