/**
 * The quick listener: `Deno.serve`, with HTTP/2. It waits for ever for a header that was half sent,
 * so it is for this host alone, or for behind a proxy.
 *
 * @module
 */

import { isLoopback, PatchbayError } from "@patchbay/core";
import type { Visit } from "./exchange.ts";
import { problemResponse } from "./statuses.ts";
import { cannotListen, full, type Serve, type Serving, urlOf } from "./serving.ts";

const LOCAL: Visit = Object.freeze({ local: true });
const REMOTE: Visit = Object.freeze({ local: false });

/** Listens with `Deno.serve`. */
export const serveQuickly: Serve = async (options): Promise<Serving> => {
  const { place, tls, handler, maxConnections } = options;
  let open = 0;
  let closing: Promise<void> | undefined;
  let idle: (() => void) | undefined;
  const leave = () => {
    options.onConnections(--open);
    if (open === 0) idle?.();
  };
  const guarded = (
    request: Request,
    visit: Visit,
    info: Deno.ServeHandlerInfo,
  ): Response | Promise<Response> => {
    if (closing !== undefined) return gone();
    if (open >= maxConnections) {
      options.onRefusal(503);
      return full(maxConnections);
    }
    const answer = handler(request, visit);
    if (!(answer instanceof Promise)) return answer;
    // What is answered at once is no burden: only what takes its time counts.
    options.onConnections(++open);
    info.completed.then(leave, leave);
    return answer;
  };
  const onError = (error: unknown) => {
    options.onError(error);
    return new Response(null, { status: 500 });
  };
  const onListen = () => {};
  const stop = new AbortController();
  const common = { onListen, onError, signal: stop.signal };
  const control = { server: undefined as Deno.HttpServer | undefined };
  try {
    if ("path" in place) {
      await removeStale(place.path);
      control.server = Deno.serve(
        { ...common, path: place.path },
        (request, info) => guarded(request, LOCAL, info),
      );
      // Until here it has the umask's mode; the runtime directory, 0700, covers that.
      if (place.mode !== undefined) await Deno.chmod(place.path, place.mode);
    } else {
      const visitOf = isLoopback(place.hostname)
        ? () => LOCAL
        : (info: Deno.ServeHandlerInfo<Deno.NetAddr>) =>
          isLoopback(info.remoteAddr.hostname) ? LOCAL : REMOTE;
      control.server = Deno.serve(
        {
          ...common,
          hostname: place.hostname,
          port: place.port,
          ...(tls === undefined ? {} : { cert: tls.cert, key: tls.key }),
        },
        (request, info) => guarded(request, visitOf(info), info),
      );
    }
  } catch (error) {
    throw cannotListen(error, place);
  }
  const { server } = control;
  const { port } = "path" in place ? { port: 0 } : server.addr as Deno.NetAddr;
  return {
    url: urlOf(place, port, tls !== undefined),
    close: (graceMs) =>
      closing ??= (async () => {
        // Not `server.shutdown()`: a client that does not read its answer holds that up for ever,
        // and afterwards nothing can cut it off.
        if (open > 0) {
          const { promise, resolve } = Promise.withResolvers<void>();
          idle = resolve;
          const timer = setTimeout(resolve, graceMs);
          await promise;
          clearTimeout(timer);
        }
        stop.abort();
        await server.finished;
        if ("path" in place) await Deno.remove(place.path).catch(() => {});
      })(),
  };
};

/** The answer to what comes while the server closes. */
function gone(): Response {
  const error = new PatchbayError("closed", "the server is closing", {
    details: { notExecuted: true },
  });
  return problemResponse(error, 503, { connection: "close" });
}

/** A socket file whose owner has died is in the way; a live one is not touched. */
async function removeStale(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch {
    return;
  }
  let live: Deno.UnixConn | undefined;
  try {
    live = await Deno.connect({ transport: "unix", path });
  } catch {
    await Deno.remove(path).catch(() => {});
  }
  if (live === undefined) return;
  live.close();
  throw new PatchbayError("unavailable", `${path}: somebody listens there already`, {
    retryable: false,
    remedy: "give this instance a name of its own",
  });
}
