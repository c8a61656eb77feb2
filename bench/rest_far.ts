/**
 * The other process of the rest bench: `rest_far.ts ROLE PORT`, where ROLE is a listener of ours, or
 * hono alone on the same.
 *
 * @module
 */

import { createServer, type RequestListener } from "node:http";
import { getRequestListener } from "npm:@hono/node-server@2.1.8";
import { Hono } from "npm:hono@4.13.19";
import { open } from "@patchbay/core";
import rest from "@patchbay/rest";

/** What is sent: 85 bytes of JSON, as in the uds suite. */
export interface Message {
  /** Which call it is. */
  readonly id: number;
  /** What is called. */
  readonly method: string;
  /** With what. */
  readonly args: { readonly x: number; readonly y: number; readonly label: string };
}

function add({ args }: Message): { sum: number } {
  return { sum: args.x + args.y };
}

/** hono that parses and answers the same JSON. */
function bare(): Hono {
  const app = new Hono();
  app.post("/far/add", async (context) => context.json(add(await context.req.json())));
  return app;
}

async function main(role: string, port: number): Promise<void> {
  const hostname = "127.0.0.1";
  if (role === "bare quick") Deno.serve({ hostname, port, onListen() {} }, bare().fetch);
  else if (role === "bare guarded") {
    const listener = getRequestListener(bare().fetch, { overrideGlobalObjects: false });
    const settings = { headersTimeout: 10_000, requestTimeout: 30_000 };
    await new Promise<void>((resolve) =>
      createServer(settings, listener as RequestListener).listen(port, hostname, () => resolve())
    );
  } else {
    const listener = role === "ours quick" ? "quick" : "guarded";
    const config = {
      rest: { listen: { hostname, port }, listener, maxConnections: 1000 },
    } as const;
    const bay = await open({ module: "far", plugins: [rest], config });
    await bay.serve("far/add", (message) => add(message as Message));
  }
  console.log("ready");
  for await (const _ of Deno.stdin.readable) { /* until it is closed */ }
  Deno.exit();
}

if (import.meta.main) await main(Deno.args[0], Number(Deno.args[1]));
