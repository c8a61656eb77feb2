import assert from "node:assert/strict";
import { defineSpeaker, type PatchbayError, type StandardSchema } from "@patchbay/core";
import {
  encodeControl,
  encodeHello,
  HEADER_BYTES,
  Kind,
  writeHeader,
} from "@patchbay/core/envelope";
import { SUBPROTOCOL } from "./link.ts";
import { createWebSocket, type WebSocketConfig } from "./plugin.ts";
import { CuttingProxy, freePort } from "@patchbay/core/conformance";
import { HubProcess } from "./testdata/hub_process.ts";
import { bay, counted, hubAt, refused, settled, until } from "./testdata/places.ts";

/** The first line of what an HTTP server answers to these headers. */
async function status(url: string, headers: readonly string[]): Promise<string> {
  const { port } = new URL(url);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
  const text = ["GET / HTTP/1.1", `Host: 127.0.0.1:${port}`, ...headers, "", ""].join("\r\n");
  await connection.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(4096);
  const read = await settled("the answer", connection.read(buffer));
  connection.close();
  return new TextDecoder().decode(buffer.subarray(0, read ?? 0)).split("\r\n")[0];
}

const UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
];

/** Sends messages as a stranger; resolves with all that came back when the hub has closed. */
async function stranger(
  url: string,
  messages: readonly (string | Uint8Array<ArrayBuffer>)[],
  onMessage: (bytes: Uint8Array, socket: WebSocket) => void = () => {},
): Promise<string> {
  const socket = new WebSocket(url, SUBPROTOCOL);
  socket.binaryType = "arraybuffer";
  const closed = Promise.withResolvers<void>();
  let reply = "";
  socket.onmessage = ({ data }) => {
    const bytes = new Uint8Array(data as ArrayBuffer);
    reply += new TextDecoder().decode(bytes);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < bytes.length;) {
      const size = view.getUint32(at, true);
      onMessage(bytes.subarray(at + 4, at + 4 + size), socket);
      at += 4 + size;
    }
  };
  socket.onerror = (event) => event.preventDefault();
  socket.onopen = () => messages.forEach((message) => socket.send(message));
  socket.onclose = () => closed.resolve();
  await settled("the stranger to be refused", closed.promise);
  return reply;
}

function frame(kind: number, id: number, route: number, body: Uint8Array, ttl?: number) {
  const bytes = new Uint8Array(4 + HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER_BYTES + body.length, true);
  writeHeader(view, 4, kind, 0, 0, 128, 0, id, route, 5000, ttl);
  bytes.set(body, 4 + HEADER_BYTES);
  return bytes;
}

const HELLO = frame(
  Kind.hello,
  0,
  0,
  encodeHello({
    versions: [1, 1],
    bay: { id: "a".repeat(16), module: "raw", instance: "raw" },
    codecs: ["json"],
    compression: [],
    maxMessageBytes: 65_536,
    windowBytes: 65_536,
    capabilities: [],
    metadata: {},
  }),
);

Deno.test("websocket: a token that is wrong or missing is refused with unauthenticated", async () => {
  const { hub, url } = await hubAt({ token: "open sesame" });
  await using _ = hub;
  await hub.serve("hub/echo", (v) => v);
  for (const token of ["open barley", "open sesame!", undefined]) {
    await using wrong = await bay("wrong", { url, token });
    await refused(wrong.listen("hub/x", () => {}), "unauthenticated");
    await refused(wrong.serve("wrong/x", () => 1), "unauthenticated");
    const error = await refused(wrong.call("hub/echo", 1), "not_found");
    assert.match(error.message, /token/);
  }
  await using right = await bay("right", { url, token: "open sesame" });
  assert.equal(await right.call("hub/echo", 1), 1);
  assert.match(await status(url, [...UPGRADE, "Authorization: Bearer open barley"]), /401/);
  assert.match(await status(url, [...UPGRADE, "Authorization: Bearer open sesame"]), /101/);
  assert.ok((counted(hub).errors.unauthenticated ?? 0) >= 2);
});

Deno.test("websocket: a foreign origin is forbidden, unless it is named", async () => {
  const { hub, url } = await hubAt({ origins: ["https://desk.example"] });
  await using _ = hub;
  assert.match(await status(url, [...UPGRADE, "Origin: https://evil.example"]), /403/);
  assert.match(await status(url, [...UPGRADE, "Origin: https://desk.example"]), /101/);
  assert.equal(counted(hub).errors.forbidden, 1);
});

Deno.test("websocket: what is no WebSocket of ours gets the right status", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  assert.match(await status(url, []), /426/);
  assert.match(await status(url, UPGRADE.slice(0, 4)), /400/);
  assert.match(await status(url, UPGRADE.filter((line) => !line.includes("Key"))), /400/);
  const { port } = new URL(url);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
  await connection.write(Uint8Array.from({ length: 4096 }, (_, i) => i * 31));
  const buffer = new Uint8Array(1024);
  while (await settled("the end", connection.read(buffer).catch(() => null)) !== null);
  connection.close();
  // The listener lives.
  await using client = await bay("client", { url });
  await hub.serve("hub/echo", (v) => v);
  assert.equal(await client.call("hub/echo", 1), 1);
});

Deno.test("websocket: text, garbage, an empty and an oversize message end that connection alone", async () => {
  const reports: PatchbayError[] = [];
  const { hub, url } = await hubAt({}, reports);
  await using _ = hub;
  await using client = await bay("client", { url });
  await hub.serve("hub/echo", (v) => v);
  assert.equal(await client.call("hub/echo", 0), 0);
  for (const bad of ["text", new Uint8Array(100).fill(7), new Uint8Array(0)]) {
    assert.match(await stranger(url, [bad]), /protocol/);
  }
  assert.match(await stranger(url, [HELLO, new Uint8Array(1024 * 1024)]), /1048576 bytes/);
  assert.equal(await client.call("hub/echo", 1), 1);
  assert.equal(counted(hub).errors.protocol, 4);
  assert.equal(reports.length, 4);
});

Deno.test("websocket: a message without hops left is refused, and counted", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using server = await bay("server", { url });
  await server.serve("server/echo", (v) => v);
  const route = frame(Kind.route, 0, 0, encodeControl({ address: "server/echo" }));
  const ask = (ttl: number) =>
    frame(Kind.request, ttl, 0, new TextEncoder().encode('"hello"'), ttl);
  const answers: string[] = [];
  await stranger(url, [HELLO], (bytes, socket) => {
    if (bytes[0] === Kind.helloAck) {
      for (const each of [route, ask(1), ask(2)]) socket.send(each);
    } else if (bytes[0] === Kind.error || bytes[0] === Kind.response) {
      answers.push(new TextDecoder().decode(bytes.subarray(HEADER_BYTES)));
      if (answers.length === 2) socket.close();
    }
  });
  assert.match(answers[0], /too many bays/);
  assert.equal(answers[1], '"hello"');
  assert.equal(counted(hub).drops.ttl, 1);
});

Deno.test("websocket: a half-open connection is noticed, and what was pending is rejected", async () => {
  const pings = { pingIntervalMs: 50, pingTimeoutMs: 200 };
  const { hub, url } = await hubAt(pings);
  await using _ = hub;
  const proxy = new CuttingProxy(Number(new URL(url).port));
  const behind = await bay("behind", { ...pings, url: `ws://127.0.0.1:${proxy.port}` });
  const entered = Promise.withResolvers<void>();
  await behind.serve("behind/hang", () => {
    entered.resolve();
    return new Promise(() => {});
  });
  await using client = await bay("client", { ...pings, url });
  const call = client.call("behind/hang", 1, { timeoutMs: Infinity });
  await settled("the call to arrive", entered.promise);
  proxy.stall();
  await refused(call, "closed");
  await refused(client.call("behind/hang", 1), "not_found");
  await until("the hub to forget it", () => counted(hub).connections === 1);
  proxy.cut();
  await until(
    "it to come back",
    () =>
      client.call("behind/hang", 1, { timeoutMs: 20 }).then(
        () => true,
        (e) => e.code === "deadline_exceeded",
      ),
  );
  await behind.close();
  await proxy.close();
});

Deno.test("websocket: several clients reach one another, with who asks, headers and time", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using one = await bay("one", { url });
  await using two = await bay("two", { url });
  await using three = await bay("three", { url });
  await one.serve("one/who", (_v, { peer, headers, remainingMs }) => ({
    peer: peer.module,
    note: headers.note,
    inTime: remainingMs > 0 && remainingMs <= 4000,
  }));
  for (const [name, other] of [["two", two], ["three", three], ["hub", hub]] as const) {
    const told = await other.call("one/who", 1, { headers: { note: name }, timeoutMs: 4000 });
    assert.deepEqual(told, { peer: name, note: name, inTime: true });
  }
  const error = await refused(two.serve("one/who", () => 1), "unavailable");
  assert.match(error.message, /one\/who .* module one/);
  const origins: string[] = [];
  await three.listen(
    "**",
    (_v, { origin, peer }) => void origins.push(`${origin} ${peer?.module}`),
  );
  const speakers = [
    await one.speaker("one/x"),
    await two.speaker("two/x"),
    await hub.speaker("h/x"),
  ];
  for (const speaker of speakers) await speaker.shout(1);
  await until("all shouts", () => origins.length === 3);
  const expected = [one, two, hub].map(({ identity: { id, module } }) => `${id} ${module}`);
  assert.deepEqual(origins.sort(), expected.sort());
});

Deno.test("websocket: with relay: false the clients reach the hub, and not one another", async () => {
  const { hub, url } = await hubAt({ relay: false });
  await using _ = hub;
  await using one = await bay("one", { url });
  await using two = await bay("two", { url });
  await one.serve("one/echo", (v) => v);
  await hub.serve("hub/echo", (v) => v);
  await refused(two.call("one/echo", 1), "not_found");
  assert.equal(await two.call("hub/echo", 2), 2);
  assert.equal(await hub.call("one/echo", 3), 3);
});

Deno.test("websocket: a shout of the hub, and of a client, reaches all that are connected, once", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  const clients = await Promise.all(
    Array.from({ length: 30 }, (_, n) => bay(`client${n}`, { url })),
  );
  const heard = new Map<string, number[]>();
  await Promise.all(clients.map((client) => {
    const values: number[] = [];
    heard.set(client.identity.module, values);
    return client.listen<number>("all/news", (n) => void values.push(n));
  }));
  const fromHub = await hub.speaker<number>("all/news");
  const fromClient = await clients[0].speaker<number>("all/news");
  assert.equal(fromHub.listeners, 30);
  await until("the client to know its listeners", () => fromClient.listeners === 29);
  for (let n = 1; n <= 10; n++) await fromHub.shout(n);
  await until("all to hear the hub", () => [...heard.values()].every((v) => v.length >= 10));
  await fromClient.shout(11);
  await until(
    "all to hear the client",
    () => [...heard].every(([name, v]) => name === "client0" || v.at(-1) === 11),
  );
  for (const [name, values] of heard) {
    const numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    assert.deepEqual(values, name === "client0" ? numbers : [...numbers, 11]);
  }
  await Promise.all(clients.map((client) => client.close()));
});

Deno.test("websocket: a blocking listener holds several speakers back, through the hub", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using ear = await bay("ear", { url });
  const mouths = await Promise.all([1, 2, 3].map((n) => bay(`mouth${n}`, { url })));
  const listener = await ear.listen<number>("*/flood", { overflow: "block", maxQueue: 4 });
  const held = mouths.map(() => Promise.withResolvers<void>());
  const shouting = mouths.map(async (mouth, m) => {
    const speaker = await mouth.speaker<number>(`mouth${m + 1}/flood`);
    for (let n = 0; n < 200; n++) {
      const wait = speaker.shout(m * 1000 + n);
      if (wait !== undefined) held[m].resolve();
      await wait;
    }
  });
  await settled("all to be held", Promise.all(held.map((each) => each.promise)));
  const heard: number[] = [];
  const reading = (async () => {
    for await (const value of listener) if (heard.push(value) === 600) break;
  })();
  await settled("all shouts", Promise.all(shouting));
  await settled("all to be heard", reading);
  for (const m of [0, 1, 2]) {
    const mine = heard.filter((value) => Math.floor(value / 1000) === m);
    assert.deepEqual(mine, Array.from({ length: 200 }, (_, n) => m * 1000 + n));
  }
  await Promise.all(mouths.map((mouth) => mouth.close()));
});

Deno.test("websocket: an event that a schema refuses is reported, and the next one heard", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  const reports: PatchbayError[] = [];
  await using ear = await bay("ear", { url }, reports);
  await using mouth = await bay("mouth", { url });
  const heard: number[] = [];
  const value: StandardSchema<number, number> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (given) =>
        typeof given === "number" ? { value: given } : { issues: [{ message: "no number" }] },
    },
  };
  const contract = defineSpeaker({ address: "mouth/n", value });
  await ear.listen(contract, (n) => void heard.push(n));
  const speaker = await mouth.speaker<unknown>("mouth/n");
  for (const value of ["text", 1]) await speaker.shout(value);
  await until("the number", () => heard.length === 1);
  assert.deepEqual(reports.map((report) => report.code), ["invalid"]);
});

Deno.test("websocket: what is configured wrongly says what to do", async () => {
  const cases: [Partial<WebSocketConfig>, RegExp, RegExp][] = [
    [{ listen: { hostname: "0.0.0.0", port: 0 } }, /no token/, /config\.websocket\.token/],
    [{ listen: { hostname: "0.0.0.0", port: 0 }, token: "" }, /token. is empty/, /set a secret/],
    [{ listen: { port: 0 }, token: "" }, /token. is empty/, /set a secret/],
    [{ url: "http://localhost" }, /no WebSocket's/, /ws:\/\//],
    [{ url: "ws://localhost", listen: { port: 1 } }, /both/, /remove either/],
    [{ listen: { port: 70_000 } }, /hostname and port/, /port: 4000/],
  ];
  for (const [config, reason, remedy] of cases) {
    await using lonely = await bay("lonely", config);
    const [wire] = lonely.wires();
    assert.equal(wire.open, false);
    assert.match(wire.reason ?? "", reason);
    assert.match(wire.remedy ?? "", remedy);
  }
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using second = await bay("second", { listen: { port: listener.addr.port } });
  assert.match(second.wires()[0].remedy ?? "", /another port/);
  listener.close();
  const page = createWebSocket();
  assert.match(JSON.stringify(await page.available({ listen: { port: 1 } } as never)), /a page/);
});

Deno.test("websocket: after so many attempts a client gives up, and says so", async () => {
  const reports: PatchbayError[] = [];
  const url = `ws://127.0.0.1:${freePort()}`;
  await using client = await bay("client", { url, maxAttempts: 3, reconnectMaxMs: 20 }, reports);
  const listener = await client.listen("any/thing");
  const ended = (async () => {
    for await (const _ of listener);
  })();
  const error = await refused(ended, "unavailable");
  assert.match(error.message, /given up after 3 attempts/);
});

Deno.test("websocket: the hub is killed and started again: clients come back by themselves", async () => {
  const port = freePort();
  const url = `ws://127.0.0.1:${port}`;
  let hub = new HubProcess(port);
  assert.equal(await hub.says(), "ready");
  await using server = await bay("server", { url });
  await using client = await bay("client", { url });
  await server.serve("server/echo", (v) => v);
  const release = Promise.withResolvers<void>();
  await server.perform("server/job", async (_goal, { feedback }) => {
    feedback(1);
    await release.promise;
    feedback(2);
    return "done";
  });
  const speaker = await server.speaker<number>("server/n", { retain: true });
  const heard: number[] = [];
  await client.listen<number>("server/n", (n) => void heard.push(n));
  const job = await client.execute<number, number, string>("server/job", 1);
  assert.equal(await client.call("server/echo", 1), 1);
  await hub.kill();
  await refused(client.call("server/echo", 2), "not_found");
  hub = new HubProcess(port);
  assert.equal(await hub.says(), "ready");
  await until(
    "a call to go through",
    () => client.call("server/echo", 3).then((v) => v === 3, () => false),
  );
  let n = 0;
  await until("a shout to be heard", async () => {
    await speaker.shout(++n);
    return heard.length > 0;
  });
  release.resolve();
  assert.equal(await settled("the job", job.result), "done");
  const feedback: number[] = [];
  for await (const value of job.feedback) feedback.push(value);
  assert.deepEqual(feedback, [1, 2]);
  const late: number[] = [];
  await client.listen<number>("server/n", (v) => void late.push(v), { retained: true });
  await until("the retained value", () => late.length > 0);
  assert.equal(late[0], n);
  await hub.kill();
});
