import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import net, { type AddressInfo } from "node:net";
import { FilteredSocket } from "./filtered_stream.ts";

Deno.test("filtered stream: what is written in one turn goes out at once, and nothing of it is lost at the end", async () => {
  const received = Promise.withResolvers<string>();
  const server = net.createServer((socket) => {
    let text = "";
    socket.on("data", (bytes) => text += bytes.toString());
    socket.on("end", () => {
      socket.end();
      received.resolve(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const socket = net.connect((server.address() as AddressInfo).port, "127.0.0.1");
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  const sizes: number[] = [];
  const write = socket.write.bind(socket) as (bytes: Buffer, done: () => void) => boolean;
  socket.write = ((bytes: Buffer, done: () => void) => {
    sizes.push(bytes.length);
    return write(bytes, done);
  }) as typeof socket.write;
  const stream = new FilteredSocket(socket, {
    from: "server",
    peer: { address: "test", port: 1 },
    onGoaway() {},
  });
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  const written: Promise<void>[] = [];
  for (let n = 0; n < 10; n++) {
    written.push(new Promise((resolve) => stream.write(Buffer.from(`${n}`), () => resolve())));
  }
  await Promise.all(written);
  assert.deepEqual(sizes, [10]);
  stream.write(Buffer.from("a"));
  stream.end(Buffer.from("b"));
  assert.equal(await received.promise, "0123456789ab");
  await closed;
  await new Promise((resolve) => server.close(resolve));
});
