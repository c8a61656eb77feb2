/**
 * rest for pages: calls, listens and runs jobs at bays and services, and reaches nothing that a
 * browser lacks. A page serves nothing.
 *
 * @module
 */

import { fetchWay, fromPageFetch } from "./fetch_way.ts";
import { createRest, type RestPlugin } from "./plugin.ts";

export type { RestConfig } from "./config.ts";
export type { Method, RestName } from "./names.ts";
export type { RestPlugin } from "./plugin.ts";
export type { RestExtras } from "./transport.ts";

/** The plugin. */
const rest: RestPlugin = createRest({
  connector: () => (base, events) =>
    fetchWay({ base, origin: base.replace(/\/+$/, ""), translate: fromPageFetch, events }),
});

export default rest;
