/**
 * worker: the three patterns between a page or a Deno program and its workers, over rings in shared
 * memory where that is allowed, over messages elsewhere. The parent is the hub; its workers reach it
 * and one another. It runs in a page as it stands.
 *
 * @module
 */

import { createWorker, type WorkerPlugin } from "./plugin.ts";

export type { AttachedWorker } from "./parent.ts";
export type { Port } from "./greeting.ts";
export type { WorkerConfig, WorkerExtras, WorkerPlugin } from "./plugin.ts";

/** The plugin. */
const worker: WorkerPlugin = createWorker();

export default worker;
