/**
 * The way by `fetch`: what is given up ends, whatever `fetch` has forgotten by then, and what is lost
 * is told.
 *
 * @module
 */

import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { connector } from "./connector.ts";
import type { RestConfig } from "./config.ts";
import { fetchWay, fromPageFetch } from "./fetch_way.ts";
import { STREAMS_A_LANE } from "./fetch_lanes.ts";
import type { Outgoing, Way } from "./host.ts";

const CERTIFICATES = new URL("../websocket/testdata/certs/", import.meta.url);
const pem = (name: string) => Deno.readTextFileSync(new URL(name, CERTIFICATES));

/** A server whose streams begin and never end, and how many of them are open. */
function server(secure: boolean) {
  const state = { open: 0, gone: Promise.withResolvers<void>() };
  const body = () =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        state.open++;
        controller.enqueue(new Uint8Array([1]));
      },
      cancel() {
        if (--state.open === 0) state.gone.resolve();
      },
    });
  const serving = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen() {},
    ...(secure ? { cert: pem("server.pem"), key: pem("server.key") } : {}),
  }, (request) => new Response(request.url.endsWith("/call") ? "1" : body()));
  return { state, serving, url: `${secure ? "https" : "http"}://127.0.0.1:${serving.addr.port}` };
}

/** Ways, and what they tell of their connections. */
function ways() {
  const told = { connected: 0, lost: 0, left: 0 };
  const events = {
    connected: () => void told.connected++,
    disconnected: (lost: boolean) => void (lost ? told.lost++ : told.left++),
  };
  const config = { http2: true, tls: { ca: [pem("own-ca.pem")] } } as unknown as RestConfig;
  return { told, events, over: (url: string): Way => connector(config)(url, events) };
}

function get(target: string, signal: AbortSignal): Outgoing {
  return { method: "GET", target, headers: {}, body: undefined, signal };
}

/** Collects what nobody holds any more. */
async function collected(): Promise<void> {
  const proof = new WeakRef({});
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // What this turn has touched is held until it ends.
  await new Promise((resolve) => setTimeout(resolve, 0));
  collect();
  assert.equal(proof.deref(), undefined, "no garbage is collected here");
}

/** Fails instead of hanging. */
async function inTime<T>(what: string, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what}: nothing after 30 s`)), 30_000);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** So many that some of them are collected. */
const COUNT = 20;

for (const [name, secure] of [["HTTP/1.1", false], ["HTTP/2", true]] as const) {
  Deno.test(`rest (fetch, ${name}): a body that is given up ends, after garbage was collected too`, async () => {
    const { state, serving, url } = server(secure);
    const { over } = ways();
    const way = over(url);
    const began: Promise<void>[] = [];
    const ends: Promise<unknown>[] = [];
    const controls: AbortController[] = [];
    for (let i = 0; i < COUNT; i++) {
      const control = new AbortController();
      controls.push(control);
      if (i % 2 === 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        began.push(promise);
        const { body } = await way.stream(get("/stream", control.signal));
        ends.push((async () => {
          for await (const _ of body) resolve();
        })());
      } else ends.push(way.exchange(get("/stream", control.signal), 1000));
    }
    const settled = Promise.allSettled(ends);
    await Promise.all(began);
    while (state.open < COUNT) await way.exchange(get("/call", AbortSignal.timeout(10_000)), 10);
    await collected();
    for (const [i, control] of controls.entries()) control.abort(`enough ${i}`);
    const reasons = (await inTime("what was given up", settled)).map((one) =>
      one.status === "rejected" && one.reason
    );
    assert.deepEqual(reasons, controls.map((_, i) => `enough ${i}`));
    // The server is told of it: over HTTP/2 no connection goes with the request.
    await inTime("the server", state.gone.promise);
    way.close();
    await serving.shutdown();
  });
}

Deno.test("rest (fetch, HTTP/2): more streams than a connection carries, and calls beside them", async () => {
  const { state, serving, url } = server(true);
  const { over, told } = ways();
  const way = over(url);
  const control = new AbortController();
  const count = 3 * STREAMS_A_LANE;
  const bodies = await Promise.all(
    Array.from({ length: count }, () => way.stream(get("/stream", control.signal))),
  );
  assert.equal(state.open, count);
  const { status } = await way.exchange(get("/call", AbortSignal.timeout(10_000)), 10);
  assert.equal(status, 200);
  assert.deepEqual(told, { connected: 4, lost: 0, left: 0 });
  control.abort();
  await inTime("the server", state.gone.promise);
  assert.equal(bodies.length, count);
  way.close();
  assert.deepEqual(told, { connected: 4, lost: 0, left: 4 });
  await serving.shutdown();
});

Deno.test("rest (fetch): a connection that is lost is told once, and once more when it is there again", async () => {
  const first = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { told, events } = ways();
  const { port } = first.addr;
  const base = `http://127.0.0.1:${port}`;
  const way = fetchWay({ base, origin: base, translate: fromPageFetch, events });
  const answer = async (listener: Deno.TcpListener, text: string) => {
    const connection = await listener.accept();
    await connection.read(new Uint8Array(4096));
    await connection.write(new TextEncoder().encode(text));
    return connection;
  };
  const head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
  const { signal } = new AbortController();
  const [one, cutOne] = await Promise.all([way.stream(get("/", signal)), answer(first, head)]);
  const [two, cutTwo] = await Promise.all([way.stream(get("/", signal)), answer(first, head)]);
  assert.deepEqual(told, { connected: 1, lost: 0, left: 0 });
  cutOne.close();
  cutTwo.close();
  for (const { body } of [one, two]) {
    await assert.rejects(Array.fromAsync(body), { code: "closed" });
  }
  assert.deepEqual(told, { connected: 1, lost: 1, left: 0 });
  const [three, again] = await Promise.all([
    way.exchange(get("/", signal), 10),
    answer(first, head + "0\r\n\r\n"),
  ]);
  assert.equal(three.bytes.length, 1);
  assert.deepEqual(told, { connected: 2, lost: 1, left: 0 });
  again.close();
  way.close();
  assert.deepEqual(told, { connected: 2, lost: 1, left: 1 });
  first.close();
});
