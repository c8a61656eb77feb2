/**
 * Serves the page, and the bay that it dials.
 *
 * @module
 */

import { createRequire } from "node:module";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bay, Patchbay } from "@patchbay/patchbay";
import websocket from "@patchbay/websocket";
import { startPlant } from "./plant.ts";

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

/** Pages share memory with their workers only if no other site can be in the same process. */
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Makes JavaScript of the page's programs; returns the folder it is in. */
async function bundle(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "patchbay-web-" });
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--platform",
      "browser",
      "--minify",
      "--code-splitting",
      "--outdir",
      folder,
      here("./page/app.ts"),
      here("./page/spectrum_worker.ts"),
    ],
  }).output();
  if (!success) throw new Error(`deno bundle failed:\n${new TextDecoder().decode(stderr)}`);
  return folder;
}

/** How to serve. */
export interface WebOptions {
  /** The port of the page; 0: any that is free. */
  readonly port: number;
  /** Whether the page may share memory with its workers. */
  readonly isolated: boolean;
}

/** What is being served. */
export interface Web extends AsyncDisposable {
  /** Where the page is. */
  readonly url: string;
  /** The plant's bay. */
  readonly bay: Bay;
}

/**
 * Serves the page on the loopback interface.
 *
 * @param options How.
 */
export async function serveWeb({ port, isolated }: WebOptions): Promise<Web> {
  const built = await bundle();
  const library = createRequire(import.meta.url).resolve("uplot/dist/uPlot.min.css");
  let socketUrl = "";
  const find = (path: string): string | undefined => {
    if (path === "/") return here("./page/index.html");
    if (path === "/style.css") return here("./page/style.css");
    if (path === "/uplot.css") return library;
    return /^\/[\w-]+\.js$/.test(path) ? `${built}${path}` : undefined;
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const headers = new Headers(isolated ? ISOLATION : {});
    headers.set("cache-control", "no-store");
    if (pathname === "/config.json") return Response.json({ url: socketUrl }, { headers });
    const path = find(pathname);
    try {
      if (path === undefined) throw new Deno.errors.NotFound();
      headers.set("content-type", TYPES[extname(path)]);
      return new Response(await Deno.readFile(path), { headers });
    } catch {
      return new Response("there is nothing here\n", { status: 404 });
    }
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  const bay = await Patchbay.open({
    module: "plant",
    plugins: [websocket],
    config: {
      websocket: { listen: { port: 0 }, origins: [url, url.replace("127.0.0.1", "localhost")] },
    },
  });
  socketUrl = bay.transport(websocket).url;
  await startPlant(bay);
  return {
    url,
    bay: bay as unknown as Bay,
    async [Symbol.asyncDispose]() {
      await Promise.all([bay.close(), server.shutdown()]);
      await Deno.remove(built, { recursive: true });
    },
  };
}
