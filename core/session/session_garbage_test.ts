import assert from "node:assert/strict";
import fc from "fast-check";
import { ERROR_CODES, PatchbayError } from "../errors.ts";
import { encodeHello, Flag, HEADER_BYTES, Kind, MAX_FRAME_BYTES } from "./envelope.ts";
import { MAX_PARTIAL } from "./fragments.ts";
import type { SessionOptions } from "./session.ts";
import {
  call,
  HELLO,
  jsonBody,
  Pair,
  type RawFrame,
  rawFrame,
  RawPair,
  settled,
  turn,
  until,
} from "./testing/rig.ts";

type State = "before the handshake" | "answering" | "agreeing" | "open, dialled" | "open, dialling";
const STATES: readonly State[] = [
  "before the handshake",
  "answering",
  "agreeing",
  "open, dialled",
  "open, dialling",
];

const { versions: _, ...rest } = HELLO;
const ACK = encodeHello({ ...rest, version: 1, codecs: ["json", "raw", "msgpack"] });

/** A session in a state, with endpoints that garbage may hit. */
async function inState(state: State, changes: Partial<SessionOptions> = {}): Promise<RawPair> {
  const dialler = state === "agreeing" || state === "open, dialling";
  const hang = state === "answering" ? { authenticate: () => new Promise<string>(() => {}) } : {};
  const pair = new RawPair(
    { handshakeMs: 5000, compression: "deflate", ...hang, ...changes },
    dialler,
  );
  pair.side.serve("echo", (value) => value);
  pair.side.serve("slow", () => turn());
  pair.side.perform("job", (goal) => goal, { retainMs: 1 });
  pair.side.speak("topic", true).shout("kept");
  const { peer } = pair;
  const codecs = ["json", "raw", "msgpack"];
  if (state === "answering") peer.hello();
  if (state === "open, dialled") await peer.shakeHands({ codecs, compression: ["deflate"] });
  if (dialler) await until("a hello", () => peer.find(Kind.hello) !== undefined);
  if (state === "open, dialling") {
    peer.send({ kind: Kind.helloAck, body: ACK });
    await settled("the handshake", pair.session.ready);
  }
  if (pair.session.isOpen) {
    ["echo", "slow", "job", "topic"].forEach((address, route) =>
      peer.send({ kind: Kind.route, route, body: jsonBody({ address }) })
    );
    // Something of this side's own that answers can hit.
    call(pair.session, "theirs", 1).catch(() => {});
  }
  return pair;
}

const kinds = fc.constantFrom(...Object.values(Kind), 0, 8, 15, 99, 255);
const numbers = fc.constantFrom(0, 1, 2, -1, 1e9, 1e300, 0.5, NaN, Infinity, -Infinity);
const bodies = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.jsonValue().map(jsonBody),
  fc.record({
    pattern: fc.constantFrom("topic", "*", "**", "", "a/**/b", 5),
    overflow: fc.constantFrom("block", "drop_oldest", "drop_newest", "fail", "x", null),
    maxQueue: fc.constantFrom(1, 0, -1, 1e9, 2.5, "1"),
    retained: fc.constantFrom(true, false, 1),
  }).map(jsonBody),
  fc.record({ address: fc.constantFrom("echo", "new/one", "*", "", 7, null) }).map(jsonBody),
  fc.record({ code: fc.constantFrom("remote", "closed", "x", 5), message: fc.string() }).map(
    jsonBody,
  ),
  fc.constant(encodeHello(HELLO)),
  fc.constant(ACK),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((id) => {
    const body = new Uint8Array(20);
    body.set(id);
    body.set(new TextEncoder().encode('"go"'), 16);
    return body;
  }),
);
const frames: fc.Arbitrary<Uint8Array> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record<RawFrame>({
      kind: kinds,
      flags: fc.constantFrom(0, 1, 2, 4, 8, 16, 32, 63, 255),
      codec: fc.constantFrom(0, 0, 1, 2, 9),
      priority: fc.nat(255),
      id: fc.constantFrom(0, 1, 2, 3, 0xffff_ffff),
      route: fc.constantFrom(0, 1, 2, 3, 4, 65_536, 0xffff_ffff),
      number: numbers,
      headers: fc.constantFrom(
        undefined,
        jsonBody({ a: "b" }),
        jsonBody({ a: 1 }),
        new Uint8Array(3),
      ),
      body: bodies,
    }, { requiredKeys: ["kind"] }).map(rawFrame),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }) },
  {
    weight: 1,
    arbitrary: fc.tuple(kinds, fc.nat(80)).map(([kind, end]) =>
      rawFrame({ kind, body: jsonBody({ address: "echo" }) }).slice(0, end)
    ),
  },
);

/** What must hold whatever was sent: open and in use, or ended with a goodbye that says why. */
async function soundOrGone(pair: RawPair, sent: readonly Uint8Array[]): Promise<void> {
  const { session, peer, link } = pair;
  await turn();
  await turn();
  if (session.isOpen) {
    peer.seen.length = 0;
    peer.send({ kind: Kind.request, id: 4242, route: 0, body: jsonBody("still there") });
    const answered = () => peer.find(Kind.response, 4242) ?? peer.find(Kind.error, 4242);
    await until("an answer", () => answered() !== undefined || link.closed);
    if (answered() !== undefined) return;
  }
  if (!link.closed) return; // Still shaking hands.
  const error = await settled("the end", session.ended);
  assert.ok(ERROR_CODES.includes(error.code));
  // Who has said goodbye is told nothing more.
  if (!sent.some(([kind]) => kind === Kind.goodbye)) {
    await settled("the goodbye", peer.gone);
    assert.ok(peer.goodbye !== undefined && peer.goodbye.message.length > 0, "no goodbye");
    assert.equal(peer.goodbye.code, error.code);
    assert.notEqual(error.code, "internal");
    assert.notEqual(error.code, "remote", `a defect, not a refusal: ${error.message}`);
  }
  assert.equal(session.sender.outbox.queuedBytes, 0);
  assert.equal(session.outbound.pending, 0);
}

for (const state of STATES) {
  Deno.test(`garbage ${state}: no throw, no hang, no leak; sound or gone with a goodbye`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frames, { minLength: 1, maxLength: 12 }), async (sent) => {
        await using pair = await inState(state);
        for (const frame of sent) {
          if (pair.peer.link.closed) break;
          pair.peer.send(frame);
        }
        await soundOrGone(pair, sent);
      }),
      { numRuns: 150 },
    );
  });
}

Deno.test("a recorded session with one byte changed: no throw, no hang, others undisturbed", async () => {
  // What a well-behaved dialler sends.
  const recorded: Uint8Array[] = [];
  await using model = new Pair();
  model.farLink.onRead = (frame) => recorded.push(frame.slice());
  await model.ready();
  model.far.serve("echo", (value) => value);
  model.far.perform("job", (goal) => goal, { retainMs: 1 });
  assert.equal(
    await call(model.dialled, "echo", "x".repeat(40), { headers: { a: "b" } }),
    "x".repeat(40),
  );
  assert.equal(
    (await call(model.dialled, "echo", new Uint8Array(40_000)) as Uint8Array).length,
    40_000,
  );
  const { subscription } = await model.listen("topic", () => {});
  assert.equal(await model.execute("job", 1).result, 1);
  subscription.close();
  assert.ok(recorded.length >= 9);
  const change = fc.tuple(
    fc.nat(recorded.length - 1),
    fc.nat(400),
    fc.integer({ min: 1, max: 255 }),
    fc.constantFrom("change", "cut", "twice", "drop"),
  );
  await fc.assert(
    fc.asyncProperty(change, async ([which, at, by, how]) => {
      await using pair = new RawPair();
      pair.side.serve("echo", (value) => value);
      pair.side.perform("job", (goal) => goal, { retainMs: 1 });
      for (let i = 0; i < recorded.length && !pair.peer.link.closed; i++) {
        let frame = recorded[i];
        if (i === which) {
          if (how === "drop") continue;
          if (how === "twice") pair.peer.send(frame);
          frame = how === "cut" ? frame.slice(0, at % frame.length) : frame.slice();
          if (how === "change") frame[at % frame.length] ^= by;
        }
        if (!pair.peer.link.closed) pair.peer.send(frame);
        await Promise.resolve();
      }
      await soundOrGone(pair, []);
    }),
    { numRuns: 400 },
  );
  assert.equal(await call(model.dialled, "echo", "undisturbed"), "undisturbed");
});

/** Sends frames to an open session, and says how it ended. */
async function provoke(
  send: (pair: RawPair) => void | Promise<void>,
  changes: Partial<SessionOptions> = {},
): Promise<PatchbayError> {
  await using pair = await inState("open, dialled", changes);
  await send(pair);
  await settled("the end", pair.peer.gone);
  const told = pair.peer.goodbye;
  assert.ok(told !== undefined, "no goodbye");
  assert.equal(told.code, (await pair.session.ended).code);
  return told;
}

Deno.test("a credit that is no count is a breach", async () => {
  for (const number of [NaN, -1, Infinity, -Infinity, 0.5, 1e300]) {
    for (const id of [0, 7]) {
      const told = await provoke(({ peer }) => peer.send({ kind: Kind.credit, id, number }));
      assert.equal(told.code, "protocol");
      assert.match(told.message, /credit/);
    }
  }
});

Deno.test("more credit than was used is no more than the window", async () => {
  await using pair = await inState("open, dialled");
  pair.peer.send({ kind: Kind.credit, number: 1e9 });
  await turn();
  for (let n = 0; n < 100; n++) call(pair.session, "theirs", "x".repeat(4000)).catch(() => {});
  assert.ok(pair.session.sender.outbox.outstanding <= 64 * 1024);
});

Deno.test("kinds that are not for this side are breaches, named by number", async () => {
  for (const kind of [Kind.broadcast, Kind.hello, Kind.helloAck, 0, 99, 255]) {
    const told = await provoke(({ peer }) => peer.send({ kind }));
    assert.equal(told.code, "protocol");
    assert.match(told.message, new RegExp(`kind ${kind} `));
  }
});

Deno.test("an id that is in use is a breach: nothing piles up behind one number", async () => {
  const terms = jsonBody({ pattern: "x", overflow: "block", maxQueue: 1, retained: false });
  const goal = new Uint8Array([...Array(16).keys(), 0x31]);
  const verdict = { authorize: () => new Promise<boolean>(() => {}) };
  for (const changes of [{}, verdict]) {
    const cases: [string, RawFrame][] = [
      ["subscription", { kind: Kind.subscribe, id: 9, body: terms }],
      ["call", { kind: Kind.request, id: 9, route: 1, body: jsonBody(1) }],
    ];
    if (changes === verdict) cases.push(["job", { kind: Kind.goal, id: 9, route: 2, body: goal }]);
    for (const [what, frame] of cases) {
      const told = await provoke(({ peer }) => {
        peer.send(frame);
        peer.send(frame);
      }, changes);
      assert.equal(told.code, "protocol");
      assert.match(told.message, new RegExp(`${what} 9 twice`));
    }
  }
});

Deno.test("routes: out of turn, of no address, not bound: breaches", async () => {
  const bind = (route: number, address: unknown) => ({
    kind: Kind.route,
    route,
    body: jsonBody({ address }),
  });
  for (const frame of [bind(9, "a"), bind(0, "a"), bind(4, "a/*"), bind(4, ""), bind(4, 5)]) {
    const told = await provoke(({ peer }) => peer.send(frame));
    assert.ok(["protocol", "invalid"].includes(told.code), told.code);
  }
  const told = await provoke(({ peer }) => peer.send({ kind: Kind.request, id: 1, route: 77 }));
  assert.match(told.message, /route 77 was not bound/);
});

Deno.test("routes: 65,536 on one connection, and no more", async () => {
  const told = await provoke(async ({ peer, side }) => {
    for (let route = 4; route <= 65_536; route++) {
      peer.send({ kind: Kind.route, route, body: jsonBody({ address: `r${route}` }) });
      if (route % 2000 === 0) await until("it", () => side.statistics.messagesIn >= route - 2000);
    }
  });
  assert.match(told.message, /route 65536 was bound out of turn/);
});

Deno.test("fragments: too many at once, too large, empty, of control: breaches", async () => {
  const piece = (id: number, body: Uint8Array, flags = 0) => ({
    kind: Kind.fragment,
    id,
    flags,
    body,
  });
  let told = await provoke(({ peer }) => {
    for (let id = 0; id <= MAX_PARTIAL; id++) peer.send(piece(id, new Uint8Array(1)));
  });
  assert.equal(told.code, "protocol");
  told = await provoke(({ peer }) => {
    for (let sent = 0; sent < 130_000; sent += 16_000) peer.send(piece(1, new Uint8Array(16_000)));
  }, { maxMessageBytes: 100_000 });
  assert.equal(told.code, "too_large");
  told = await provoke(({ peer }) => peer.send(piece(1, new Uint8Array(0))));
  assert.equal(told.code, "protocol");
  const control = rawFrame({ kind: Kind.goodbye, body: jsonBody({}) });
  told = await provoke(({ peer }) => peer.send(piece(1, control, Flag.last)));
  assert.match(told.message, /control frame in fragments/);
  told = await provoke(({ peer }) => peer.send(piece(1, new Uint8Array(5), Flag.last)));
  assert.equal(told.code, "protocol");
});

Deno.test("frames before the hello-ack was read are bounded", async () => {
  await using pair = new RawPair({}, true);
  await until("a hello", () => pair.peer.find(Kind.hello) !== undefined);
  // The codec is loaded at once or later: so many frames come in the same turn.
  pair.link.pause();
  const ack = encodeHello({ ...rest, version: 1, codecs: ["msgpack"] });
  pair.peer.send({ kind: Kind.helloAck, body: ack });
  for (let n = 0; n < 1100; n++) pair.peer.send({ kind: Kind.heartbeat });
  await turn();
  pair.link.step(2000);
  await settled("the end", pair.peer.gone);
  assert.match(pair.peer.goodbye?.message ?? "", /too eager/);
});

Deno.test("a request that cannot be read is that caller's error, and the next is answered", async () => {
  await using pair = await inState("open, dialled");
  const { peer } = pair;
  const bad: RawFrame[] = [
    { kind: Kind.request, body: new Uint8Array([0x7b]) },
    { kind: Kind.request, codec: 7, body: jsonBody(1) },
    { kind: Kind.request, headers: jsonBody([1]), body: jsonBody(1) },
    { kind: Kind.request, flags: Flag.compressed, body: new Uint8Array([1, 2, 3]) },
    { kind: Kind.goal, route: 2, body: new Uint8Array(3) },
    { kind: Kind.goal, route: 2, body: new Uint8Array(17) },
    { kind: Kind.attach, route: 2, body: new Uint8Array(1) },
    { kind: Kind.subscribe, body: jsonBody({ pattern: "a//b", overflow: "block", maxQueue: 1 }) },
    { kind: Kind.subscribe, body: jsonBody({ pattern: "a", overflow: "maybe", maxQueue: 1 }) },
    { kind: Kind.subscribe, body: new Uint8Array(2) },
  ];
  bad.forEach((frame, n) => peer.send({ ...frame, id: 100 + n }));
  peer.send({ kind: Kind.request, id: 1, route: 0, body: jsonBody("fine") });
  await until("the answer", () => peer.find(Kind.response, 1) !== undefined);
  await until(
    "the errors",
    () => bad.every((_, n) => peer.find(Kind.error, 100 + n) !== undefined),
  );
  assert.ok(pair.session.isOpen);
});

Deno.test("a handler's error with details that are no JSON costs its own call only", async () => {
  await using pair = await new Pair().ready();
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  pair.far.serve("bad", (n) => {
    throw new PatchbayError("invalid", "look at this", { details: n === 1 ? { n: 1n } : circle });
  });
  pair.far.serve("echo", (value) => value);
  for (const n of [1, 2]) {
    await assert.rejects(call(pair.dialled, "bad", n), {
      code: "invalid",
      message: "look at this",
    });
  }
  assert.equal(await call(pair.dialled, "echo", 1), 1);
});

Deno.test("a peer that asks and never reads is cut off: answers, acknowledgements, credit", async () => {
  const terms = jsonBody({ pattern: "x", overflow: "block", maxQueue: 1, retained: false });
  const floods: Record<string, (peer: RawPair["peer"], n: number) => void> = {
    answers: (peer, id) =>
      peer.send({ kind: Kind.request, id, route: 0, body: jsonBody("x".repeat(2000)) }),
    refusals: (peer, id) => peer.send({ kind: Kind.request, id, route: 3 }),
    acknowledgements: (peer, id) => {
      peer.send({ kind: Kind.subscribe, id, body: terms });
      peer.send({ kind: Kind.unsubscribe, id });
    },
  };
  for (const [what, flood] of Object.entries(floods)) {
    await using pair = await inState("open, dialled", { maxQueueBytes: 1024 * 1024 });
    pair.peer.link.pause();
    let n = 1;
    while (!pair.link.closed) {
      for (let i = 0; i < 500 && !pair.link.closed; i++) flood(pair.peer, n++);
      await turn();
      assert.ok(n < 1_000_000, `${what}: fed without end`);
      assert.ok(pair.link.buffered < 6 * 1024 * 1024, `${what}: ${pair.link.buffered} in the link`);
      assert.ok(pair.session.sender.outbox.queuedBytes < 2 * 1024 * 1024);
    }
    assert.equal((await settled("the end", pair.session.ended)).code, "overloaded");
    assert.equal(pair.session.sender.outbox.queuedBytes, 0);
  }
});

Deno.test("the largest frame is what the document says", () => {
  assert.equal(MAX_FRAME_BYTES, 24_600);
  assert.equal(HEADER_BYTES, 24);
});

Deno.test("a frame that should have come in pieces is a breach, however much the link takes", async () => {
  const limit = 24 * 1024 + HEADER_BYTES;
  assert.equal(limit, MAX_FRAME_BYTES);
  const told = await provoke(({ session }) => {
    const frame = rawFrame({ kind: Kind.request, id: 9, body: new Uint8Array(limit) });
    session.frame(frame, 0, frame.length);
  });
  assert.equal(told.code, "protocol");
  assert.match(told.message, /frame of \d+ bytes, the limit is 24600/);
});

Deno.test("frames before the hello-ack was read are bounded in bytes, too", async () => {
  await using pair = await inState("agreeing");
  const ack = rawFrame({ kind: Kind.helloAck, body: ACK });
  pair.session.frame(ack, 0, ack.length);
  const frame = rawFrame({ kind: Kind.send, route: 0, body: new Uint8Array(24_000) });
  // Before the next turn: what was agreed on has not been loaded yet.
  let sent = 0;
  while (sent * frame.length <= 64 * 1024 + 1024 * 1024) {
    pair.session.frame(frame, 0, frame.length);
    sent++;
  }
  assert.ok(sent < 100, "there are fewer than the most frames");
  const error = await settled("the end", pair.session.ended);
  assert.equal(error.code, "protocol");
  assert.match(error.message, /too eager/);
});
