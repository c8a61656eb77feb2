/**
 * Serves, with the filter or bare, while clients on Node call and close well: each says GOAWAY.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { Server, ServerCredentials } from "npm:@grpc/grpc-js@1.14.7";
import { messages, PATH } from "../messages.ts";
import { NodePeer } from "../node_peer.ts";
import { GrpcServer } from "../server.ts";

const [kind, modules, folder, rounds, calls] = Deno.args;
const path = `${folder}/${kind}.server.sock`;
const same = (bytes: Buffer) => bytes;
const answer = (
  call: { request: Buffer },
  done: (error: null, bytes: Buffer) => void,
) => {
  const { json } = messages().callRequest.decode(call.request);
  done(null, messages().callResponse.encode({ json }));
};

let close: () => Promise<void> | void;
if (kind === "guarded") {
  const server = new GrpcServer({
    place: { path },
    tls: undefined,
    tokens: undefined,
    maxReceiveBytes: 1024 * 1024,
    maxConnections: 10,
    maxStreams: 100,
    graceMs: 1000,
    keepaliveMs: 0,
    keepaliveTimeoutMs: 1000,
    onConnections() {},
    onRefused() {},
    onError() {},
  });
  server.unary(`${PATH}Call`, answer);
  await server.listen();
  close = () => server.close();
} else {
  const server = new Server();
  server.register(`${PATH}Call`, answer, same, same, "unary");
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(
      `unix:${path}`,
      ServerCredentials.createInsecure(),
      (error) => error ? reject(error) : resolve(),
    )
  );
  close = () => server.forceShutdown();
}
await using peer = await NodePeer.start(modules);
for (let round = 0; round < Number(rounds); round++) {
  const about = { target: `unix:${path}`, address: "a/b", json: "1", times: Number(calls) };
  await peer.ask("call", about);
}
await close();
console.log("alive");
