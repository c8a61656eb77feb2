import assert from "node:assert/strict";
import { deflateRawSync } from "node:zlib";
import type { OutboundCall } from "../callable.ts";
import { CodecTable } from "../codec.ts";
import { PatchbayError } from "../errors.ts";
import type { Verb } from "../plugin.ts";
import { Flag, Kind } from "./envelope.ts";
import { Outbound, type OutboundHost } from "./outbound.ts";
import type { SessionOptions } from "./session.ts";
import {
  call,
  HELLO,
  jsonBody,
  Pair,
  rawFrame,
  RawPair,
  settled,
  TestCall,
  turn,
  until,
} from "./testing/rig.ts";

/** Both sides end with this code. */
async function refused(
  near: Partial<SessionOptions>,
  far: Partial<SessionOptions>,
  code: string,
  message: RegExp,
): Promise<void> {
  await using pair = new Pair(near, far);
  await assert.rejects(settled("the dialler", pair.dialled.ready), { code, message });
  await assert.rejects(settled("the dialled", pair.accepted.ready), { code, message });
  await until("both links to close", () => pair.nearLink.closed && pair.farLink.closed);
  assert.ok(!pair.dialled.isOpen && !pair.accepted.isOpen);
}

function onlyJson(): CodecTable {
  const table = new CodecTable();
  const has = table.has.bind(table);
  table.has = (name) => name === "json" && has(name);
  return table;
}

// ----- handshake -----

Deno.test("handshake: both sides learn who the other is", async () => {
  await using pair = await new Pair({}, {}, { identity: "uid 1000" }).ready();
  assert.deepEqual(pair.dialled.bay, { id: pair.far.id, module: "far", instance: "far" });
  assert.deepEqual(pair.accepted.peer, {
    module: "near",
    transport: "memory",
    identity: "uid 1000",
    local: true,
  });
});

Deno.test("handshake: a range that reaches further settles on what both speak", async () => {
  await using pair = new RawPair();
  await pair.peer.shakeHands({ versions: [0, 9] });
  const ack = JSON.parse(new TextDecoder().decode(pair.peer.find(Kind.helloAck)?.body.slice(4)));
  assert.equal(ack.version, 1);
  assert.equal(ack.credentials, undefined);
  await pair.session.ready;
});

Deno.test("handshake: disjoint versions are refused with the reason, on both sides", async () => {
  await using pair = new RawPair();
  pair.peer.hello({ versions: [7, 9] });
  await settled("the refusal", pair.peer.gone);
  assert.equal(pair.peer.goodbye?.code, "protocol");
  assert.match(pair.peer.goodbye?.message ?? "", /versions 7 to 9, this side 1 to 1/);
  assert.ok(pair.peer.goodbye?.remedy);
  await assert.rejects(pair.session.ready, { code: "protocol", message: /versions 7 to 9/ });
  // The other way round: the dialler is told.
  await using dialler = new RawPair({}, true);
  await dialler.peer.until("a hello", () => dialler.peer.find(Kind.hello) !== undefined);
  const reason = { code: "protocol", message: "the peer speaks versions 1 to 1, this side 7 to 9" };
  dialler.peer.send({ kind: Kind.goodbye, body: jsonBody(reason) });
  await assert.rejects(settled("the refusal", dialler.session.ready), reason);
});

Deno.test("handshake: the codec list is the dialler's order, as far as both know it", async () => {
  await using pair = await new Pair({ codec: "msgpack" }, { codec: "json" }).ready();
  for (const { sender } of [pair.dialled, pair.accepted]) {
    assert.deepEqual(sender.codecs.map(({ name }) => name), ["msgpack", "json", "raw"]);
  }
  await using narrow = await new Pair({}, { codecs: onlyJson() }).ready();
  assert.deepEqual(narrow.dialled.sender.codecs.map(({ name }) => name), ["json"]);
  narrow.far.serve("echo", (value) => value);
  assert.deepEqual(await call(narrow.dialled, "echo", { a: 1 }), { a: 1 });
  // Bytes need raw: the call is refused, the connection is not.
  await assert.rejects(call(narrow.dialled, "echo", new Uint8Array(3)), {
    code: "invalid",
    message: /codec raw was not agreed on/,
  });
  narrow.far.serve("bytes", () => new Uint8Array(3));
  await assert.rejects(call(narrow.dialled, "bytes", null), { code: "invalid" });
  assert.ok(narrow.dialled.isOpen);
});

Deno.test("handshake: no common codec is refused with the reason", async () => {
  await using pair = new RawPair();
  pair.peer.hello({ codecs: ["cbor", "thrift"] });
  await settled("the refusal", pair.peer.gone);
  assert.match(pair.peer.goodbye?.message ?? "", /no codec is known to both sides/);
  assert.deepEqual(pair.peer.goodbye?.details?.theirs, ["cbor", "thrift"]);
});

Deno.test("handshake: one that stops half-way is closed after handshakeMs", async () => {
  for (const dialler of [false, true]) {
    await using pair = new RawPair({ handshakeMs: 20 }, dialler);
    await settled("the end", pair.peer.gone);
    assert.match(pair.peer.goodbye?.message ?? "", /handshake took too long/);
    assert.ok(!pair.timers.running);
  }
  // An authenticate hook that never answers is no way round it.
  await using hanging = new RawPair({ handshakeMs: 20, authenticate: () => new Promise(() => {}) });
  hanging.peer.hello();
  await settled("the end", hanging.peer.gone);
  assert.equal(hanging.peer.find(Kind.helloAck), undefined);
});

Deno.test("handshake: a dialler cannot acknowledge itself past authenticate", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  await using pair = new RawPair({ authenticate: () => promise });
  pair.side.serve("secret", () => "told");
  pair.peer.hello();
  const { versions: _, ...rest } = HELLO;
  const ack = new TextEncoder().encode("PBAY" + JSON.stringify({ ...rest, version: 1 }));
  pair.peer.send({ kind: Kind.helloAck, body: ack });
  pair.peer.send({ kind: Kind.route, route: 0, body: jsonBody({ address: "secret" }) });
  pair.peer.send({ kind: Kind.request, id: 1, route: 0, body: jsonBody(1) });
  await settled("the refusal", pair.peer.gone);
  resolve("nobody");
  await turn();
  assert.equal(pair.peer.goodbye?.code, "protocol");
  assert.equal(pair.peer.find(Kind.response), undefined);
  assert.ok(!pair.session.isOpen);
});

Deno.test("credentials: they are asked for, and what proves who it is becomes the identity", async () => {
  const authenticate: SessionOptions["authenticate"] = async (credentials, bay) => {
    await turn();
    if (credentials === `token of ${bay.module}`) return `known ${bay.module}`;
    throw new PatchbayError("unauthenticated", `${bay.module} sent no token`, {
      remedy: "set the token",
    });
  };
  await refused({}, { authenticate }, "unauthenticated", /near sent no token/);
  await refused({ credentials: "x" }, { authenticate }, "unauthenticated", /near sent no token/);
  await using pair = await new Pair({ credentials: "token of near" }, { authenticate }).ready();
  assert.equal(pair.accepted.peer.identity, "known near");
  pair.far.serve("who", (_, { peer }) => peer.identity);
  assert.equal(await call(pair.dialled, "who", null), "known near");
});

Deno.test("credentials: a hook that breaks refuses, and tells the stranger nothing", async () => {
  await using pair = new Pair({}, {
    authenticate: () => {
      throw new Error("database password hunter2 is wrong");
    },
  });
  const error = await pair.dialled.ready.catch((e) => e);
  assert.equal(error.code, "unauthenticated");
  assert.doesNotMatch(JSON.stringify(error.toWire()), /hunter2/);
  assert.ok(pair.far.reports.some(({ message }) => message.includes("hunter2")));
});

// ----- end -----

Deno.test("goodbye: its reason reaches what is pending on the other side", async () => {
  await using pair = await new Pair().ready();
  pair.far.serve("hang", () => new Promise(() => {}));
  const pending = call(pair.dialled, "hang", null);
  await until("the call to arrive", () => pair.far.callable("hang")?.statistics.calls === 1);
  await pair.accepted.close(new PatchbayError("closed", "going for lunch"));
  await assert.rejects(settled("the call", pending), {
    code: "closed",
    message: "going for lunch",
  });
  assert.equal((await pair.dialled.ended).message, "going for lunch");
});

Deno.test("goodbye: whatever the reason holds, it is sent", async () => {
  const circle: Record<string, unknown> = { n: 5n };
  circle.self = circle;
  await using pair = await new Pair().ready();
  const reason = new PatchbayError("forbidden", "\u0007".repeat(50_000), { details: circle });
  await pair.accepted.close(reason);
  const ended = await settled("the end", pair.dialled.ended);
  assert.equal(ended.code, "forbidden");
  assert.ok(ended.message.length >= 2048);
});

Deno.test("a link that breaks ends everything that was pending, with closed", async () => {
  await using pair = await new Pair().ready();
  const gone = Promise.withResolvers<void>();
  pair.far.serve("hang", (_, { signal }) => {
    signal.addEventListener("abort", () => gone.resolve());
    return new Promise(() => {});
  });
  const pending = call(pair.dialled, "hang", null);
  await until("the call to arrive", () => pair.far.callable("hang")?.statistics.calls === 1);
  pair.nearLink.cut();
  await assert.rejects(settled("the call", pending), { code: "closed" });
  await settled("the handler to learn of it", gone.promise);
  // Whoever still holds the session learns it at once, too.
  await assert.rejects(settled("a late call", call(pair.dialled, "hang", null)), {
    code: "closed",
    details: { notExecuted: true },
  });
  await assert.rejects(pair.listen("x", undefined), { code: "closed" });
});

Deno.test("a connection that has used up its routes ends, as the next one begins with none", async () => {
  await using pair = await new Pair().ready();
  const { dialled, accepted } = pair;
  for (let n = 0; n < 65_536; n++) {
    dialled.routeOf(`a/n${n}`);
    if (n % 1024 === 0) await turn();
  }
  assert.equal(dialled.routeOf("a/n7"), 7);
  assert.throws(() => dialled.routeOf("a/more"), { code: "overloaded" });
  assert.equal((await settled("the end there", accepted.ended)).code, "closed");
  assert.equal((await settled("the end here", dialled.ended)).code, "closed");
});

Deno.test("heartbeat: where the link tells no death, a silent peer is closed after three", async () => {
  await using pair = new RawPair({ heartbeatMs: 15 }, false, { detectsClose: false });
  await pair.peer.shakeHands();
  // As long as something comes, it stays.
  for (let i = 0; i < 8; i++) {
    const beats = pair.peer.seen.filter(({ kind }) => kind === Kind.heartbeat).length;
    const more = () => pair.peer.seen.filter(({ kind }) => kind === Kind.heartbeat).length > beats;
    await until("a heartbeat", more);
    pair.peer.send({ kind: Kind.heartbeat });
  }
  assert.ok(pair.session.isOpen);
  const ended = await settled("the end", pair.session.ended);
  assert.equal(ended.code, "closed");
  assert.match(ended.message, /silent for 45 ms/);
  assert.ok(pair.link.closed && !pair.timers.running);
});

Deno.test("heartbeat: a link that tells of death has none, and two sessions keep each other up", async () => {
  await using quiet = await new Pair().ready();
  await until("no timer to run between two who are connected", () => !quiet.timers.running);
  await using pair = await new Pair({ heartbeatMs: 5 }, { heartbeatMs: 5 }).ready();
  let beats = 0;
  pair.nearLink.onRead = ({ 0: kind }) => void (beats += Number(kind === Kind.heartbeat));
  await until("ten heartbeats", () => beats >= 10);
  assert.ok(pair.dialled.isOpen && pair.accepted.isOpen);
});

// ----- authorize -----

Deno.test("authorize: asked once for each verb and address, in order, whatever it takes", async () => {
  const asked: string[] = [];
  const gate = Promise.withResolvers<void>();
  const authorize = async (peer: { module: string }, verb: Verb, address: string) => {
    asked.push(`${peer.module} ${verb} ${address}`);
    await gate.promise;
    return !address.startsWith("closed");
  };
  await using pair = await new Pair({}, { authorize }).ready();
  const seen: unknown[] = [];
  const handler = (value: unknown) => {
    seen.push(value);
    return value;
  };
  pair.far.serve("open/a", handler);
  pair.far.serve("closed/a", handler);
  pair.far.perform("open/job", (goal) => goal, { retainMs: 1 });
  pair.far.perform("closed/job", handler, { retainMs: 1 });
  const calls = Array.from({ length: 50 }, (_, n) => call(pair.dialled, "open/a", n));
  const refused = Array.from({ length: 50 }, (_, n) => call(pair.dialled, "closed/a", -n));
  const cancelled = new TestCall(pair.dialled, "open/a", "cancelled");
  const jobs = [1, 2].map((n) => pair.execute("open/job", n).result);
  const noJob = pair.execute("closed/job", 1).result;
  const listening = [1, 2].map(() => pair.listen("open/topic", () => {}));
  const deaf = assert.rejects(pair.listen("closed/topic", () => {}), { code: "forbidden" });
  await until("the questions", () => asked.length === 6);
  assert.equal(seen.length, 0, "a handler was reached before the verdict");
  cancelled.cancel();
  await turn();
  gate.resolve();
  assert.deepEqual(await settled("the calls", Promise.all(calls)), seen);
  assert.deepEqual(seen, Array.from({ length: 50 }, (_, n) => n));
  for (const each of [...refused, noJob]) {
    await assert.rejects(settled("a refusal", each), { code: "forbidden" });
  }
  assert.deepEqual(await settled("the jobs", Promise.all(jobs)), [1, 2]);
  await settled("the listeners", Promise.all([...listening, deaf]));
  assert.equal(await call(pair.dialled, "open/a", 99), 99);
  assert.deepEqual(asked.toSorted(), [
    "near call closed/a",
    "near call open/a",
    "near execute closed/job",
    "near execute open/job",
    "near listen closed/topic",
    "near listen open/topic",
  ]);
  assert.equal(pair.far.callable("closed/a")?.statistics.calls, 0);
});

Deno.test("authorize: one that throws refuses, tells nothing, and is asked again", async () => {
  for (const slow of [false, true]) {
    let asked = 0;
    const authorize = () => {
      if (++asked > 2) return true;
      if (slow) return Promise.reject(new Error("hunter2"));
      throw new Error("hunter2");
    };
    await using pair = await new Pair({}, { authorize }).ready();
    pair.far.serve("echo", (value) => value);
    for (let i = 0; i < 2; i++) {
      const error: PatchbayError = await call(pair.dialled, "echo", 1).then(
        () => assert.fail("it was allowed"),
        (e) => e,
      );
      assert.equal(error.code, "forbidden");
      assert.doesNotMatch(JSON.stringify(error.toWire()), /hunter2/);
    }
    assert.equal(await call(pair.dialled, "echo", 1), 1);
    assert.equal(asked, 3);
    assert.equal(pair.far.reports.length, 2);
  }
});

Deno.test("authorize: a one-way send is asked about like a call", async () => {
  for (const [allowed, expected] of [[false, []], [true, [1, 2]]] as const) {
    const { promise: verdict, resolve } = Promise.withResolvers<boolean>();
    await using pair = new RawPair({ authorize: () => verdict });
    const seen: unknown[] = [];
    pair.side.serve("sink", (value) => void seen.push(value));
    await pair.peer.shakeHands();
    pair.peer.send({ kind: Kind.route, route: 0, body: jsonBody({ address: "sink" }) });
    for (const n of [1, 2]) pair.peer.send({ kind: Kind.send, route: 0, body: jsonBody(n) });
    await until("both to arrive", () => pair.side.statistics.messagesIn >= 4);
    await turn();
    assert.deepEqual(seen, []);
    resolve(allowed);
    await turn();
    assert.deepEqual(seen, expected);
    const answers = pair.peer.seen.filter(({ kind }) => kind >= 16);
    assert.deepEqual(answers, [], "a send has no answer");
  }
});

Deno.test("authorize: what was taken back while the verdict was pending does not happen", async () => {
  const { promise: verdict, resolve } = Promise.withResolvers<boolean>();
  await using pair = await new Pair({}, { authorize: () => verdict }).ready();
  let ran = 0;
  pair.far.perform("job", () => ++ran, { retainMs: 1 });
  const abort = new AbortController();
  const job = pair.execute("job", 1, { signal: abort.signal });
  abort.abort(new Error("enough"));
  await assert.rejects(job.result, /enough/);
  pair.dialled.sender.control(
    Kind.subscribe,
    77,
    0,
    jsonBody({ pattern: "a/*", overflow: "block", maxQueue: 1, retained: false }),
  );
  pair.dialled.sender.control(Kind.unsubscribe, 77, 0);
  await until("all to arrive", () => pair.far.statistics.messagesIn >= 6);
  resolve(true);
  await turn();
  assert.equal(ran, 0);
  assert.equal(pair.far.publications.size, 0);
});

// ----- subscriptions -----

Deno.test("a retained value that this peer cannot take costs neither subscription nor connection", async () => {
  for (const authorize of [undefined, () => Promise.resolve(true)]) {
    await using pair = await new Pair({ maxMessageBytes: 1000 }, { authorize }).ready();
    const large = pair.far.speak("t/large", true);
    const small = pair.far.speak("t/small", true);
    void large.shout(new Uint8Array(5000));
    void small.shout(1);
    const heard: unknown[] = [];
    await pair.listen("t/*", (value) => void heard.push(value), { retained: true });
    await until("the small one", () => heard.length === 1);
    void large.shout(2);
    await until("the next", () => heard.length === 2);
    assert.deepEqual(heard, [1, 2]);
    assert.equal(large.endpoint.statistics.drops.get("too_large"), 1);
  }
});

Deno.test("overflow fail: the listener ends, and the publisher forgets it", async () => {
  await using pair = await new Pair().ready();
  const { endpoint } = await pair.listen("t", undefined, { overflow: "fail", maxQueue: 5 });
  const speaker = pair.far.speak("t");
  pair.nearLink.pause();
  for (let n = 0; n < 100; n++) void speaker.shout(new Uint8Array(5000));
  assert.equal(speaker.way.listeners, 0);
  assert.equal(pair.far.publications.size, 0);
  pair.nearLink.resume();
  await until("the listener to end", () => endpoint.ended);
  assert.ok(pair.dialled.isOpen);
  assert.ok(pair.accepted.sender.outbox.queuedBytes === 0);
});

// ----- compression -----

const SQUEEZED = { compression: "deflate", compressionThreshold: 1000 } as const;

Deno.test("compression: from the threshold on, told by a flag, and only where both want it", async () => {
  for (
    const [near, far, expected] of [
      [SQUEEZED, SQUEEZED, true],
      [SQUEEZED, {}, false],
      [{}, SQUEEZED, false],
    ] as const
  ) {
    await using pair = await new Pair(near, far).ready();
    pair.far.serve("echo", (value) => value);
    const flags: [number, boolean][] = [];
    const note = (frame: Uint8Array) => {
      const compressed = (frame[1] & Flag.compressed) !== 0;
      if (frame[0] === Kind.request || frame[0] === Kind.response) {
        flags.push([frame.length, compressed]);
      }
    };
    pair.farLink.onRead = pair.nearLink.onRead = note;
    for (const length of [998, 999 - 1, 1000, 200_000]) {
      const text = "x".repeat(length - 2);
      assert.equal(await call(pair.dialled, "echo", text), text);
    }
    const told = flags.map(([, compressed]) => compressed);
    if (!expected) assert.ok(!told.includes(true));
    else assert.deepEqual(told, [false, false, false, false, true, true, true, true]);
    if (expected) assert.ok(flags.slice(4).every(([bytes]) => bytes < 1000), "nothing was saved");
    // What does not become smaller goes as it is.
    const noise = crypto.getRandomValues(new Uint8Array(5000));
    flags.length = 0;
    assert.deepEqual(await call(pair.dialled, "echo", noise), noise);
    assert.ok(flags.every(([, compressed]) => !compressed));
  }
});

Deno.test("compression: a bomb is refused with too_large, and the others go on", async () => {
  const bomb = new Uint8Array(deflateRawSync(new Uint8Array(12 * 1024 * 1024), { level: 9 }));
  assert.ok(bomb.length < 16 * 1024);
  await using pair = new RawPair({ compression: "deflate" });
  pair.side.serve("echo", (value) => value);
  await pair.peer.shakeHands({ compression: ["deflate"], codecs: ["json", "raw"] });
  pair.peer.send({ kind: Kind.route, route: 0, body: jsonBody({ address: "echo" }) });
  const flags = Flag.compressed;
  pair.peer.send({ kind: Kind.request, id: 1, route: 0, codec: 1, flags, body: bomb });
  pair.peer.send({ kind: Kind.request, id: 2, route: 0, body: jsonBody("fine") });
  await until("both answers", () => pair.peer.find(Kind.response, 2) !== undefined);
  const error = JSON.parse(new TextDecoder().decode(pair.peer.find(Kind.error, 1)?.body));
  assert.equal(error.code, "too_large");
  assert.equal(error.details.max, 10 * 1024 * 1024);
  assert.ok(pair.session.isOpen);
});

Deno.test("compression: a flag without agreement is an error of that message", async () => {
  await using pair = new RawPair();
  pair.side.serve("echo", (value) => value);
  await pair.peer.shakeHands({ compression: ["deflate"] });
  pair.peer.send({ kind: Kind.route, route: 0, body: jsonBody({ address: "echo" }) });
  pair.peer.send({ kind: Kind.request, id: 1, flags: Flag.compressed, body: jsonBody(1) });
  await until("the answer", () => pair.peer.find(Kind.error, 1) !== undefined);
  assert.match(new TextDecoder().decode(pair.peer.find(Kind.error, 1)?.body), /no compression/);
});

// ----- ids -----

Deno.test("ids come round after 2^32, and never as 0", () => {
  const taken: number[] = [];
  const sender = {
    codecFor: () => undefined,
    value: ({ id }: { id: number }) => void taken.push(id),
    control: () => {},
    outbox: {},
  };
  const host = { sender, routeOf: () => 0 } as unknown as OutboundHost;
  const outbound = new Outbound(host, 0xffff_fffd);
  for (let i = 0; i < 4; i++) outbound.request({ slot: 0 } as unknown as OutboundCall);
  assert.deepEqual(taken, [0xffff_fffe, 0xffff_ffff, 1, 2]);
});

Deno.test("frames that come with the hello-ack wait for what it says", async () => {
  await using pair = new RawPair({}, true);
  pair.side.serve("echo", (value) => value);
  await pair.peer.until("a hello", () => pair.peer.find(Kind.hello) !== undefined);
  const { versions: _, ...rest } = HELLO;
  const ack = { ...rest, version: 1, codecs: ["msgpack", "json"] };
  const body = new TextEncoder().encode("PBAY" + JSON.stringify(ack));
  pair.peer.send({ kind: Kind.helloAck, body });
  pair.peer.send({ kind: Kind.route, route: 0, body: jsonBody({ address: "echo" }) });
  pair.peer.send(rawFrame({ kind: Kind.request, id: 5, codec: 1, body: jsonBody("early") }));
  await until("the answer", () => pair.peer.find(Kind.response, 5) !== undefined);
  assert.equal(pair.side.statistics.messagesIn, 3, "each frame counts once");
});

// ----- values with code of their own -----

Deno.test("a value that sends something while it is being sent is refused, and garbles nothing", async () => {
  for (const codec of ["json", "msgpack"]) {
    await using pair = await new Pair({ codec }, { codec }).ready();
    const heard: unknown[] = [];
    await pair.listen("topic/*", (value, { address }) => void heard.push([address, value]));
    const [one, two] = [pair.far.speak("topic/one"), pair.far.speak("topic/two")];
    one.shout("first");
    two.shout("first");
    const nested = {
      get x() {
        two.shout(new Uint8Array([1, 2, 3]));
        return 1;
      },
    };
    const large = {
      ...{ pad: "x".repeat(40_000) },
      get x() {
        return nested.x;
      },
    };
    for (const value of [nested, large]) {
      assert.throws(() => one.shout(value), { code: "invalid", message: /sends something itself/ });
    }
    // Whoever swallows that goes on with what was asked for first.
    one.shout({
      get x() {
        let refused = "lost";
        try {
          two.shout("lost");
        } catch {
          refused = "kept";
        }
        return refused;
      },
    });
    // What cannot be refused takes the place of the value.
    pair.near.serve("near/echo", (value) => value);
    const canceller = {
      get x() {
        pair.accepted.sender.control(Kind.heartbeat, 0, 0);
        return 1;
      },
    };
    assert.throws(() => one.shout(canceller), { code: "invalid" });
    one.shout("last");
    two.shout("last");
    await until("the last", () => heard.length >= 5);
    await turn();
    assert.deepEqual(heard, [
      ["topic/one", "first"],
      ["topic/two", "first"],
      ["topic/one", { x: "kept" }],
      ["topic/one", "last"],
      ["topic/two", "last"],
    ]);
    assert.equal(await call(pair.accepted, "near/echo", "still there"), "still there");
    assert.deepEqual(pair.near.reports, []);
  }
});
