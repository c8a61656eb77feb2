/**
 * What clients of the guarded listener may leave unread, and what they lose who leave more.
 *
 * @module
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import type { PatchbayError } from "@patchbay/core";
import { Streams } from "./event_stream.ts";
import { bayWith, counted, post } from "./testdata/bay.ts";
import { MAX_PIPELINED } from "./unread.ts";

const ASKED = "POST /arm/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";

/** A connection that sends a text, and when it is closed. */
function sending(url: string, text: string): { socket: Socket; closed: Promise<string> } {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname, () => socket.write(text));
  const { promise, resolve } = Promise.withResolvers<string>();
  socket.on("error", () => {});
  socket.on("close", () => resolve("closed"));
  return { socket, closed: promise };
}

Deno.test("rest (guarded): what is sent ahead of its answers is answered, up to a bound", async () => {
  await using bay = await bayWith({ listener: "guarded" });
  await bay.serve("arm/wait", () => 7);
  const { socket, closed } = sending(bay.url, ASKED.repeat(MAX_PIPELINED));
  let reply = "";
  await new Promise<void>((resolve) => {
    socket.on("data", (data) => {
      reply += data;
      if (reply.split("HTTP/1.1 200 OK").length > MAX_PIPELINED) resolve();
    });
  });
  socket.destroy();
  await closed;
  assert.deepEqual(counted(bay).errors, {});
});

Deno.test("rest (guarded): who sends more than that ahead loses the connection, is counted and told of", async () => {
  const reports: PatchbayError[] = [];
  await using bay = await bayWith({ listener: "guarded" }, reports);
  const gate = Promise.withResolvers<void>();
  // Whatever happens, nobody waits when the bay closes.
  using _open = { [Symbol.dispose]: () => gate.resolve() };
  const tooFar = Promise.withResolvers<string>();
  let entered = 0;
  await bay.serve("arm/wait", async () => {
    if (++entered > MAX_PIPELINED) tooFar.resolve("answered");
    await gate.promise;
  });
  await bay.serve("arm/move", (value) => value);
  for (let client = 1; client <= 2; client++) {
    entered = 0;
    const { closed } = sending(bay.url, ASKED.repeat(MAX_PIPELINED * 4));
    assert.equal(await Promise.race([closed, tooFar.promise]), "closed");
    assert.equal(counted(bay).errors.overloaded, client);
    assert.equal(await (await fetch(`${bay.url}/arm/move`, post(client))).json(), client);
  }
  // Who does it often is not told of as often.
  assert.equal(reports.length, 1);
  assert.equal(reports[0].code, "overloaded");
  assert.match(reports[0].message, /127\.0\.0\.1:\d+ has sent more than 64 requests/);
});

Deno.test("rest (guarded): who reads nothing of an answer loses the connection, who reads slowly does not", async () => {
  const reports: PatchbayError[] = [];
  const size = 24 * 1024 * 1024;
  await using bay = await bayWith({
    listener: "guarded",
    answerTimeoutMs: 300,
    maxMessageBytes: size,
  }, reports);
  // More than the kernel takes: what it does not take waits in this process.
  await bay.serve("arm/wait", () => new Uint8Array(size));
  const { socket, closed } = sending(bay.url, ASKED);
  socket.pause();
  using _gone = { [Symbol.dispose]: () => socket.destroy() };
  const slow = await fetch(`${bay.url}/arm/wait`, { method: "POST" });
  assert.equal(slow.headers.get("content-length"), String(size));
  const watchdog = AbortSignal.timeout(30_000);
  const cut = () => {
    watchdog.throwIfAborted();
    return counted(bay).errors.deadline_exceeded === 1;
  };
  let read = 0;
  for await (const piece of slow.body!) {
    read += piece.length;
    // It takes its time for as long as the other is not cut off.
    if (!cut()) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(read, size);
  while (!cut()) await new Promise((resolve) => setTimeout(resolve, 10));
  socket.resume();
  await closed;
  assert.deepEqual(counted(bay).errors, { deadline_exceeded: 1 });
  assert.equal(reports.length, 1);
  assert.match(reports[0].message, /has read nothing of its answer for 300 ms/);
});

Deno.test("rest: an event stream that has ended lets go of a client that does not read its end", async () => {
  const streams = new Streams(60_000);
  const gone: string[] = [];
  const bounds = {
    maxQueue: 8,
    maxBytes: 1024,
    overflow: "fail",
    cut: () => void gone.push("cut"),
  } as const;
  const stream = streams.open(bounds, 200, {}, () => void gone.push("gone"));
  const reader = stream.response.body!.getReader();
  for (const n of [1, 2, 3]) stream.push(Uint8Array.of(n));
  stream.end();
  for (let missed = 1; missed <= 3; missed++) stream.ping();
  assert.deepEqual(gone, []);
  stream.ping();
  assert.deepEqual(gone, ["gone", "cut"]);
  assert.equal(streams.size, 0);
  reader.releaseLock();
  await stream.response.body!.cancel();
});
