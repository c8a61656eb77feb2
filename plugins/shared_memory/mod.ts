/**
 * shared_memory: the three patterns between processes of one host, through rings in memory that
 * both have mapped. A Unix socket a pair is the way to meet, the doorbell and the crash detector.
 *
 * @module
 */

import { createSharedMemory, type SharedMemoryWire } from "./plugin.ts";

export type { SharedMemoryConfig, SharedMemoryExtras, SharedMemoryWire } from "./plugin.ts";

/** The plugin. */
const sharedMemory: SharedMemoryWire = createSharedMemory();

export default sharedMemory;
