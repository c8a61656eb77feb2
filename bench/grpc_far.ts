/**
 * The far process of the grpc suite: `grpc_far.ts ours PLACE` or `grpc_far.ts bare PLACE`, where
 * PLACE is the path of a Unix socket, or `tcp`. Prints where it listens when it is ready, and is
 * killed when its input ends: a bare server would not live through its clients' goodbye.
 *
 * @module
 */

import { Patchbay } from "@patchbay/core";
import { loadPackageDefinition, Server, ServerCredentials } from "npm:@grpc/grpc-js@1.14.7";
import { loadSync } from "npm:@grpc/proto-loader@0.8.1";
import { fileURLToPath } from "node:url";
import grpc from "../plugins/grpc/mod.ts";
import type { Message } from "./uds_far.ts";

export { MESSAGE, type Message } from "./uds_far.ts";

const PROTO = new URL("../plugins/grpc/proto/patchbay/v1/patchbay.proto", import.meta.url);

/** The published service, as somebody loads it who has grpc-js and nothing else. */
// deno-lint-ignore no-explicit-any -- grpc-js types its dynamic clients as any
export function bareService(): any {
  const definition = loadSync(fileURLToPath(PROTO), { keepCase: true });
  // deno-lint-ignore no-explicit-any
  return (loadPackageDefinition(definition) as any).patchbay.v1.Patchbay;
}

/** A bay of the suite. */
export function openGrpc(module: string, config: Record<string, unknown>) {
  return Patchbay.open({ module, plugins: [grpc], config: { grpc: config } });
}

function add({ args: { x, y } }: Message): { sum: number } {
  return { sum: x + y };
}

async function serveOurs(place: string): Promise<string> {
  const listen = place === "tcp" ? { port: 0 } : { path: place };
  const bay = await openGrpc("far", { listen });
  await bay.serve("far/add", add);
  return bay.transport(grpc).url;
}

function serveBare(place: string): Promise<string> {
  const server = new Server();
  server.addService(bareService().service, {
    Call(
      call: { request: { json: string } },
      done: (error: null, answer: { json: string }) => void,
    ) {
      done(null, { json: JSON.stringify(add(JSON.parse(call.request.json))) });
    },
  });
  const target = place === "tcp" ? "127.0.0.1:0" : `unix:${place}`;
  return new Promise((resolve, reject) =>
    server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(error);
      else resolve(place === "tcp" ? `127.0.0.1:${port}` : target);
    })
  );
}

if (import.meta.main) {
  const [kind, place] = Deno.args;
  console.log(await (kind === "ours" ? serveOurs(place) : serveBare(place)));
  for await (const _ of Deno.stdin.readable);
  Deno.kill(Deno.pid, "SIGKILL");
}
