import assert from "node:assert/strict";
import { PatchbayError } from "../errors.ts";
import { LINK_FIELDS, type LinkConfig, type LinkDriver } from "../link_plugin.ts";
import { ListenerEndpoint } from "../listener_endpoint.ts";
import { Session } from "../session/session.ts";
import { MemoryLink } from "../session/testing/memory_link.ts";
import { settled, Side, turn, until } from "../session/testing/rig.ts";
import { EndpointStatistics } from "../statistics.ts";
import { type TimerEntry, TimerWheel } from "../timer_wheel.ts";
import { Peer, type PeerHost } from "./peer.ts";

/** A wheel whose hands the test turns: it notes each delay and never waits. */
class HandWheel extends TimerWheel {
  readonly armed: Map<TimerEntry, number> = new Map();

  override arm(entry: TimerEntry, delayMs: number): void {
    this.armed.set(entry, delayMs);
  }

  override disarm(entry: TimerEntry): void {
    this.armed.delete(entry);
  }

  /** The one pause that runs; connect deadlines do not count. */
  get pause(): [TimerEntry, number] | undefined {
    return [...this.armed].find(([, delayMs]) => delayMs <= CONFIG.reconnectMaxMs);
  }

  /** Ends the pause. */
  async next(): Promise<number> {
    await until("a pause", () => this.pause !== undefined);
    const [entry, delayMs] = this.pause as [TimerEntry, number];
    this.armed.delete(entry);
    entry.expire();
    await turn();
    return delayMs;
  }
}

const defaults = Object.fromEntries(
  Object.entries(LINK_FIELDS).map((
    [name, field],
  ) => [name, (field as { default?: unknown }).default]),
) as unknown as LinkConfig;
const CONFIG: LinkConfig = {
  ...defaults,
  codec: "json",
  connectTimeoutMs: 1_000_000,
  reconnectMinMs: 100,
  reconnectMaxMs: 3000,
};

/** A peer that a listener needs, and a driver whose dials the test lets succeed or fail. */
class Meeting implements AsyncDisposable {
  readonly timers: HandWheel = new HandWheel();
  readonly real: TimerWheel = new TimerWheel();
  readonly near: Side = new Side("near", this.real);
  readonly far: Side = new Side("far", this.real);
  readonly sessions: Session[] = [];
  readonly links: MemoryLink[] = [];
  readonly listener: ListenerEndpoint;
  readonly peer: Peer;
  /** Why the peer gave up, each time. */
  readonly gaveUp: string[] = [];
  dials = 0;
  reachable = true;
  /** What a dial is told that does not succeed. */
  obstacle: PatchbayError = new PatchbayError("closed", "nobody listens");

  /** @param final Whether a refusal is the end. */
  constructor(final = false) {
    const driver: LinkDriver = {
      listen: () => Promise.reject(new Error("not here")),
      dial: () => {
        this.dials++;
        if (!this.reachable) return Promise.reject(this.obstacle);
        const [one, other] = MemoryLink.pair();
        this.links.push(one);
        this.sessions.push(new Session(other, false, this.far.options()));
        return Promise.resolve(one);
      },
    };
    const host: PeerHost = {
      driver,
      config: CONFIG,
      timers: this.timers,
      session: this.near.options(),
      peerChanged: () => {},
      peerLost: () => {},
      gaveUp: final ? (error) => void this.gaveUp.push(error.message) : undefined,
    };
    const entry = {
      id: "far",
      module: "far",
      instance: "far",
      pid: 1,
      startedAtMs: 0,
      wires: {},
      endpoints: [],
    };
    this.peer = new Peer(entry, "there", host);
    this.listener = this.listen();
  }

  /** One more listener. */
  listen(): ListenerEndpoint {
    const identity = { id: "near", module: "near", instance: "near" };
    return new ListenerEndpoint(
      "topic",
      undefined,
      () => {},
      {},
      { identity, timers: this.real, report: () => {} },
      new EndpointStatistics("speaker", "listener", "topic", "memory"),
      false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await settled("closing", this.peer.close(new PatchbayError("closed", "the test is over")));
    await Promise.all(this.sessions.map((session) => session.close()));
    this.real.close();
  }
}

Deno.test("reconnection: full jitter under a ceiling that doubles from the least to the most", async () => {
  await using meeting = new Meeting();
  const { peer, timers } = meeting;
  meeting.reachable = false;
  await peer.join(meeting.listener);
  assert.equal(meeting.dials, 1);
  const pauses: number[] = [];
  for (let n = 0; n < 60; n++) pauses.push(await timers.next());
  pauses.forEach((pauseMs, n) => {
    const ceiling = Math.min(CONFIG.reconnectMaxMs, CONFIG.reconnectMinMs * 2 ** (n + 1));
    assert.ok(pauseMs >= 0 && pauseMs <= ceiling, `pause ${n}: ${pauseMs} ms of ${ceiling}`);
  });
  assert.ok(new Set(pauses).size > 50, "no jitter");
  // Full jitter: anywhere under the ceiling. That none of 50 is in a third has a chance of 1e-9.
  const late = pauses.slice(8);
  for (const third of [0, 1, 2]) {
    const within = (ms: number) => ms >= third * 1000 && ms <= (third + 1) * 1000;
    assert.ok(late.some(within), `none between ${third} and ${third + 1} s`);
  }
  assert.equal(meeting.dials, 61, "one dial for each pause, and none besides");
  assert.match(peer.trouble?.message ?? "", /nobody listens/);
  // It is back: the listener joins, and nothing is tried any longer.
  meeting.reachable = true;
  await timers.next();
  await until("the listener to join", () => meeting.far.publications.size === 1);
  await turn();
  assert.equal(timers.pause, undefined);
  assert.equal(peer.trouble, undefined);
});

Deno.test("reconnection: after a loss the pauses begin anew, and the listener joins again", async () => {
  await using meeting = new Meeting();
  const { peer, timers } = meeting;
  await peer.join(meeting.listener);
  for (let round = 1; round <= 3; round++) {
    meeting.links.at(-1)?.cut();
    await until("the loss", () => peer.session === undefined);
    const pauseMs = await timers.next();
    assert.ok(pauseMs <= CONFIG.reconnectMinMs);
    await until("the listener to join", () => meeting.far.publications.size === 1);
    await until("the session", () => peer.session !== undefined);
  }
  assert.equal(meeting.near.statistics.reconnections, 3);
});

Deno.test("reconnection: stops when the peer is gone, or when nobody needs it any longer", async () => {
  for (const how of ["gone", "left"]) {
    await using meeting = new Meeting();
    const { peer, timers } = meeting;
    meeting.reachable = false;
    await peer.join(meeting.listener);
    await timers.next();
    await until("a pause", () => timers.pause !== undefined);
    const { dials } = meeting;
    if (how === "gone") await peer.close(new PatchbayError("closed", "the module far has gone"));
    else {
      peer.leave(meeting.listener);
      await timers.next();
    }
    for (let i = 0; i < 5; i++) await turn();
    assert.equal(timers.pause, undefined, how);
    assert.equal(meeting.dials, dials, how);
    assert.equal(peer.trouble, undefined);
  }
});

Deno.test("a call in a pause dials at once, and those that wait share the attempt", async () => {
  await using meeting = new Meeting();
  const { peer, timers } = meeting;
  meeting.reachable = false;
  await peer.join(meeting.listener);
  await until("a pause", () => timers.pause !== undefined);
  meeting.reachable = true;
  const { dials } = meeting;
  const sessions = await settled("connecting", Promise.all([1, 2, 3].map(() => peer.connect())));
  assert.equal(new Set(sessions).size, 1);
  assert.equal(meeting.dials, dials + 1);
  await until("the listener to join", () => meeting.far.publications.size === 1);
  assert.equal(timers.pause, undefined);
});

Deno.test("reconnection: whoever listens after a refusal is tried for anew, also while nobody is there", async () => {
  await using meeting = new Meeting(true);
  const { peer, timers } = meeting;
  await peer.join(meeting.listener);
  meeting.reachable = false;
  meeting.obstacle = new PatchbayError("forbidden", "not you");
  meeting.links.at(-1)?.cut();
  await timers.next();
  await until("the end", () => meeting.gaveUp.length === 1);
  // It has gone meanwhile: that is no refusal, and the one from before does not count any longer.
  meeting.obstacle = new PatchbayError("closed", "nobody listens");
  await peer.join(meeting.listen());
  await timers.next();
  meeting.reachable = true;
  await timers.next();
  await until("the listener to join", () => meeting.far.publications.size === 1);
  assert.deepEqual(meeting.gaveUp, ["not you"]);
});
