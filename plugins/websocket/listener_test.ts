import assert from "node:assert/strict";
import { open, type PatchbayError } from "@patchbay/core";
import { CuttingProxy } from "@patchbay/core/conformance";
import plain, { WebSocketListener } from "./mod.ts";
import websocket, { openListener } from "./node.ts";
import { bay, counted, hubAt, refused, settled, until } from "./testdata/places.ts";
import { JsonClient } from "./testdata/json_client.ts";

for (const perMessageDeflate of [false, true]) {
  const kind = perMessageDeflate ? "npm:ws" : "our server";
  Deno.test(`listener: several bays share one, each at its path, with clients apart (${kind})`, async () => {
    await using listener = await openListener({ port: 0, perMessageDeflate });
    const at = (path: string) => ({ listen: { listener, path } });
    await using north = await bay("north", at("/north"));
    const south = await bay("south", { ...at("/south"), token: "open sesame" });
    await north.serve("a/where", () => "north");
    await south.serve("a/where", () => "south");
    assert.equal(north.transport(websocket).url, `${listener.url}/north`);
    await using up = await bay("up", { url: `${listener.url}/north` });
    await using down = await bay("down", { url: `${listener.url}/south`, token: "open sesame" });
    assert.deepEqual([await up.call("a/where", 0), await down.call("a/where", 0)], [
      "north",
      "south",
    ]);
    const client = await JsonClient.open(`${listener.url}/north`);
    const ask = { type: "request", id: 1, address: "a/where" };
    assert.equal((await client.ask(ask, "response")).value, "north");
    await client.close();
    await using lost = await bay("lost", { url: `${listener.url}/east` });
    assert.match((await refused(lost.call("a/where", 0), "not_found")).message, /404/);
    // A path has one bay.
    await using second = await bay("second", at("/north"));
    assert.match(second.wires()[0].reason ?? "", /has a bay already/);
    // One of them ends: the other goes on, and the path is free again.
    await south.close();
    assert.equal(await up.call("a/where", 0), "north");
    await using heir = await bay("heir", at("/south"));
    await heir.serve("a/where", () => "heir");
    await using late = await bay("late", { url: `${listener.url}/south` });
    assert.equal(await late.call("a/where", 0), "heir");
  });
}

for (const perMessageDeflate of [false, true]) {
  const kind = perMessageDeflate ? "npm:ws" : "our server";
  Deno.test(`listener: a connection that never finishes its handshake is closed, with 408 (${kind})`, async () => {
    const { hub, url } = await hubAt({ listen: { perMessageDeflate, handshakeMs: 300 } });
    await using _ = hub;
    await hub.serve("hub/echo", (v) => v);
    await using client = await bay("client", { url });
    const port = Number(new URL(url).port);
    const slow = await Deno.connect({ hostname: "127.0.0.1", port });
    await slow.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: webso"));
    const silent = await Deno.connect({ hostname: "127.0.0.1", port });
    const answers = [slow, silent].map(remains);
    // Others are served meanwhile.
    assert.equal(await client.call("hub/echo", 1), 1);
    assert.match(await settled("the slow one", answers[0]), /^HTTP\/1\.1 408/);
    await settled("the silent one", answers[1]);
    await until("it to be counted", () => (counted(hub).errors.deadline_exceeded ?? 0) >= 1);
    // One that says hello for ever is no better.
    const mute = await JsonClient.open(url, null);
    await settled("the mute one", mute.closed);
    assert.equal(await client.call("hub/echo", 2), 2);
  });
}

Deno.test("listener: requests that are none of HTTP's are refused with the right status", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  const port = Number(new URL(url).port);
  const good = [
    "Host: x",
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: patchbay.v1",
  ];
  const but = (name: string, ...more: string[]) => [
    ...good.filter((line) => !line.toLowerCase().startsWith(name)),
    ...more,
  ];
  const cases: [string, readonly string[], number][] = [
    ["GET / HTTP/1.1", good, 101],
    ["GET /?any=1 HTTP/1.1", good, 101],
    ["POST / HTTP/1.1", good, 405],
    ["GET / HTTP/1.0", good, 400],
    ["GET http://x/ HTTP/1.1", good, 400],
    ["GET  / HTTP/1.1", good, 400],
    ["GET /", good, 400],
    ["\x16\x03\x01 this is TLS", [], 400],
    ["GET / HTTP/1.1", but("host"), 400],
    ["GET / HTTP/1.1", [...good, "no colon"], 400],
    ["GET / HTTP/1.1", [...good, "bad name: x"], 400],
    ["GET / HTTP/1.1", [...good, " folded: x"], 400],
    ["GET / HTTP/1.1", [...good, "Transfer-Encoding: chunked"], 400],
    ["GET / HTTP/1.1", [...good, "Content-Length: 5"], 400],
    ["GET / HTTP/1.1", [...good, `X: ${"x".repeat(20_000)}`], 431],
    ["GET / HTTP/1.1", but("sec-websocket-version", "Sec-WebSocket-Version: 8"), 426],
    ["GET / HTTP/1.1", but("sec-websocket-key", "Sec-WebSocket-Key: short"), 400],
    ["GET / HTTP/1.1", but("connection", "Connection: close"), 400],
    ["GET / HTTP/1.1", but("upgrade"), 426],
    ["GET / HTTP/1.1", but("sec-websocket-protocol", "Sec-WebSocket-Protocol: chat"), 400],
  ];
  let refusals = 0;
  for (const [first, lines, status] of cases) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(new TextEncoder().encode([first, ...lines, "", ""].join("\r\n")));
    if (status === 101) {
      const buffer = new Uint8Array(1024);
      const read = await settled("the upgrade", conn.read(buffer));
      assert.match(new TextDecoder().decode(buffer.subarray(0, read ?? 0)), /^HTTP\/1\.1 101/);
      conn.close();
      continue;
    }
    refusals++;
    const text = await settled(`the end of ${first}`, remains(conn));
    assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`), `${first} ${lines.join()}`);
    assert.match(text, /connection: close/);
  }
  const { errors } = counted(hub);
  assert.equal(errors.protocol, refusals);
});

Deno.test("listener: what needs npm:ws says so, where it is not there", async () => {
  for (
    const config of [
      { url: "wss://localhost:1", tls: { unsafelySkipVerification: true } },
      { url: "ws://localhost:1", perMessageDeflate: true },
      { listen: { port: 0, certFile: "a", keyFile: "b", clientCaFile: "c" } },
    ]
  ) {
    await using lonely = await open({
      module: "lonely",
      plugins: [plain],
      config: { websocket: config },
      onReport: () => {},
    });
    const [wire] = lonely.wires();
    assert.match(wire.reason ?? "", /need npm:ws/);
    assert.match(wire.remedy ?? "", /@patchbay\/websocket\/node/);
  }
  const opening = WebSocketListener.open({ port: 0, perMessageDeflate: true });
  assert.match((await refused(opening, "unavailable")).remedy ?? "", /websocket\/node/);
});

/** All that comes until the connection is closed. */
async function remains(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(1024);
  let text = "";
  for (;;) {
    const read = await conn.read(buffer).catch(() => null);
    if (read === null) break;
    text += new TextDecoder().decode(buffer.subarray(0, read));
  }
  conn.close();
  return text;
}

Deno.test("listener: more clients than may come are turned away, and one may come when one goes", async () => {
  const { hub, url } = await hubAt({ maxConnections: 2 });
  await using _ = hub;
  await hub.serve("hub/echo", (v) => v);
  const [one, two] = await Promise.all([bay("one", { url }), bay("two", { url })]);
  for (const each of [one, two]) assert.equal(await each.call("hub/echo", 1), 1);
  await using three = await bay("three", { url });
  await refused(three.call("hub/echo", 1), "not_found");
  assert.ok((counted(hub).errors.overloaded ?? 0) >= 1);
  await one.close();
  await until(
    "a place",
    () =>
      three.call("hub/echo", 1).then((v) => v === 1, (e: PatchbayError) => {
        assert.equal(e.code, "not_found");
        return false;
      }),
  );
  await two.close();
});

Deno.test("pool: calls and jobs take turns on several connections, and come back after a cut", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await hub.serve("hub/who", (_v, { peer }) => peer.module);
  const release = Promise.withResolvers<void>();
  await hub.perform<number, number, number>("hub/job", async (n, { feedback }) => {
    feedback(n);
    await release.promise;
    return n;
  });
  const proxy = new CuttingProxy(Number(new URL(url).port));
  {
    const through = `ws://127.0.0.1:${proxy.port}`;
    await using client = await bay("client", { url: through, connections: 3 });
    await client.serve("client/echo", (v) => v);
    const all = await Promise.all(Array.from({ length: 30 }, () => client.call("hub/who", 0)));
    assert.ok(all.every((name) => name === "client"));
    assert.equal(counted(hub).connections, 3);
    assert.equal(counted(client).connections, 3);
    // What it serves is reached over the first one alone.
    assert.equal(await hub.call("client/echo", 7), 7);
    const numbers = Array.from({ length: 12 }, (_, n) => n);
    const jobs = await Promise.all(numbers.map((n) => client.execute("hub/job", n)));
    proxy.cut();
    release.resolve();
    const results = Promise.all(jobs.map((job) => job.result));
    assert.deepEqual(await settled("the jobs", results), numbers);
    await until(
      "calls to go through",
      () => client.call("hub/who", 0).then((who) => who === "client", () => false),
    );
    await until(
      "it to be served again",
      () => hub.call("client/echo", 8).then((v) => v === 8, () => false),
    );
  }
  await proxy.close();
});
