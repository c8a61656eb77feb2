import assert from "node:assert/strict";
import type { PatchbayError } from "@patchbay/core";
import { settled, until } from "./testdata/places.ts";
import { masked } from "./testdata/raw_client.ts";
import { Op } from "./wire_frames.ts";
import { WireSocket } from "./wire_socket.ts";

/** Two connections over the loopback interface. */
async function connected(): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const dialling = Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const accepted = await listener.accept();
  return [await dialling, accepted];
}

/** Goes round through the kernel a few times: what is there to be read has been read then. */
async function rounds(): Promise<void> {
  const [near, far] = await connected();
  const buffer = new Uint8Array(1);
  for (let n = 0; n < 20; n++) {
    await near.write(buffer);
    await far.read(buffer);
    await far.write(buffer);
    await near.read(buffer);
  }
  near.close();
  far.close();
}

Deno.test("wire socket: who was not let in is read so far and no further, until it is", async () => {
  const [peer, conn] = await connected();
  let messages = 0;
  const end = Promise.withResolvers<PatchbayError | undefined>();
  const options = { client: false, op: Op.binary, maxBytes: 100_000, earlyBytes: 10_000 };
  const socket = new WireSocket(conn, new Uint8Array(0), options, {
    take: () => undefined,
    sent: () => {},
    message: () => void messages++,
    batchEnd: () => {},
    malformed: (error) => end.resolve(error),
    closed: (error) => end.resolve(error),
  });
  socket.start();
  const one = masked(0x82, new Uint8Array(992)); // 1000 with its head.
  const many = new Uint8Array(30_000);
  for (let n = 0; n < 30; n++) many.set(one, n * 1000);
  await peer.write(many);
  await until("what may come", () => messages === 10);
  await rounds();
  assert.equal(messages, 10);
  socket.admit();
  await until("the rest", () => messages === 30);
  // Now a message may have its whole size.
  const large = masked(0x82, new Uint8Array(99_000));
  for (let at = 0; at < large.length;) at += await peer.write(large.subarray(at));
  await until("a large one", () => messages === 31);
  peer.close();
  await settled("the end", end.promise);
  await settled("the connection", socket.gone);
});

Deno.test("wire socket: who was not let in is closed although it has more to say", async () => {
  const [peer, conn] = await connected();
  let messages = 0;
  const options = { client: false, op: Op.binary, maxBytes: 100_000, earlyBytes: 1000 };
  const socket = new WireSocket(conn, new Uint8Array(0), options, {
    take: () => undefined,
    sent: () => {},
    message: () => void messages++,
    batchEnd: () => {},
    malformed: () => {},
    closed: () => {},
  });
  socket.start();
  await peer.write(masked(0x82, new Uint8Array(500)));
  await peer.write(masked(0x82, new Uint8Array(20_000)));
  await until("the first", () => messages === 1);
  const closing = socket.close(false, 1008, "no");
  await peer.write(masked(0x88, new Uint8Array([0x03, 0xf0])));
  await settled("the close", closing);
  assert.equal(messages, 1);
  peer.close();
});

Deno.test("wire socket: one that is flooded does not keep the others from being read", async () => {
  const [near, far] = await connected();
  const options = { client: false, op: Op.binary, maxBytes: 100_000 };
  const bytes = masked(0x82, new Uint8Array(500));
  let reads = 0;
  let rounds = 0;
  const flood = {
    read: (into: Uint8Array) => {
      if (rounds === 3 || ++reads === 3_000_000) return Promise.resolve(null);
      into.set(bytes.subarray(0, into.length));
      return Promise.resolve(bytes.length);
    },
    close: () => {},
  };
  const socket = new WireSocket(flood as unknown as Deno.Conn, new Uint8Array(0), options, {
    take: () => undefined,
    sent: () => {},
    message: () => {},
    batchEnd: () => {},
    malformed: () => {},
    closed: () => {},
  });
  socket.start();
  const buffer = new Uint8Array(1);
  for (; rounds < 3; rounds++) {
    await near.write(buffer);
    await far.read(buffer);
  }
  await settled("the end of the flood", socket.gone);
  assert.ok(reads < 3_000_000, "nothing else was read until the flood was over");
  near.close();
  far.close();
});
