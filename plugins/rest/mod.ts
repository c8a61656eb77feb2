/**
 * rest: the three patterns over HTTP, so that curl, pages and any other program can take part.
 *
 * @module
 */

import { DENO_PARTS } from "./deno_parts.ts";
import { createRest, type RestPlugin } from "./plugin.ts";

export { type HttpRequest, httpRequest, type Params } from "./exchange.ts";
export type { Authenticate, AuthOptions, Credentials, Introspection } from "./auth_options.ts";
export type { CorsOptions, ListenAddress, Middleware, RestConfig, TlsOptions } from "./config.ts";
export type { Method, RestName } from "./names.ts";
export type { RestPlugin } from "./plugin.ts";
export type { RestExtras } from "./transport.ts";

/** The plugin. */
const rest: RestPlugin = createRest(DENO_PARTS);

export default rest;
