/**
 * Calls a server on Node a thousand times, has it close well, and goes on with a new one: with the
 * filter, or bare. Each round ends with a GOAWAY to this process.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Client, credentials } from "npm:@grpc/grpc-js@1.14.7";
import { GuardedCredentials } from "../guarded_http2.ts";
import { messages, PATH } from "../messages.ts";
import { NodePeer } from "../node_peer.ts";

const [kind, modules, folder, rounds, calls] = Deno.args;
const same = (bytes: Buffer) => bytes;
const request = messages().callRequest.encode({ address: "node/echo", json: Buffer.from("1") });

for (let round = 0; round < Number(rounds); round++) {
  await using peer = await NodePeer.start(modules);
  const target = `unix:${folder}/${kind}.${round}.sock`;
  await peer.ask("serve", { target });
  const plain = credentials.createInsecure();
  const client = new Client(target, kind === "guarded" ? new GuardedCredentials() : plain);
  const call = () =>
    new Promise<Buffer>((resolve, reject) =>
      client.makeUnaryRequest(
        `${PATH}Call`,
        same,
        same,
        request,
        (error, answer) => error ? reject(error) : resolve(answer as Buffer),
      )
    );
  for (let i = 0; i < Number(calls); i++) await call();
  await peer.ask("shutdown");
  // What was corrupted shows when memory is used again.
  const waste: Uint8Array[] = [];
  for (let i = 0; i < 2000; i++) waste.push(new Uint8Array(4096));
  client.close();
}
console.log("alive");
