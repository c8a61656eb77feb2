import assert from "node:assert/strict";
import { CodecTable } from "../codec.ts";
import type { Directory, DirectoryEntry } from "../directory.ts";
import type { Link } from "../link.ts";
import { LINK_FIELDS, type LinkConfig, type LinkDriver } from "../link_plugin.ts";
import type { CallableEndpoint } from "../callable_endpoint.ts";
import { Session } from "../session/session.ts";
import { MemoryLink } from "../session/testing/memory_link.ts";
import { RawPeer, settled, Side, turn, until } from "../session/testing/rig.ts";
import { EndpointStatistics, TransportStatistics } from "../statistics.ts";
import { TimerWheel } from "../timer_wheel.ts";
import { directoryTransport } from "./directory_transport.ts";

const EMPTY: Directory = {
  listening: () => Promise.resolve(),
  add: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  others: [],
  refresh: () => Promise.resolve([]),
  watch: () => () => {},
  close: () => Promise.resolve(),
};

/** A transport over links in memory, and its timer. */
function made(directory: Directory, driver: LinkDriver, changes: Partial<LinkConfig> = {}) {
  const timers = new TimerWheel();
  const defaults = Object.fromEntries(
    Object.entries(LINK_FIELDS).map(([name, { default: value }]) => [name, value]),
  );
  const config = { ...defaults, codec: "json", ...changes } as unknown as LinkConfig;
  const statistics = new TransportStatistics("memory");
  const transport = directoryTransport(
    {
      name: "memory",
      identity: { id: "1", module: "small", instance: "small" },
      timers,
      codecs: new CodecTable(),
      directory,
      statistics,
      authorize: undefined,
      maxMessageBytes: 1000,
      routesChanged: () => {},
      report: () => {},
    },
    directory,
    driver,
    config,
    undefined,
  );
  return { transport, timers, statistics };
}

Deno.test("one peer too many is told so, and the others go on; after the loss of one there is room", async () => {
  let accept: (link: Link) => void = () => {};
  const driver = {
    listen: (given: (link: Link) => void) => {
      accept = given;
      return Promise.resolve({ where: "here", close: () => Promise.resolve() });
    },
    dial: () => Promise.reject(new Error("nobody is dialled")),
  };
  const { transport, timers, statistics } = made(EMPTY, driver, { maxConnections: 2 });
  const endpoint: CallableEndpoint = new Side("small", timers).serve(
    "small/echo",
    (value) => value,
  );
  await transport.serve?.(endpoint);
  const dial = () => {
    const [mine, theirs] = MemoryLink.pair();
    accept(theirs);
    return new RawPeer(mine);
  };
  const first = [dial(), dial()];
  for (const peer of first) await peer.shakeHands();
  const third = dial();
  third.hello();
  await settled("the refusal", third.gone);
  assert.equal(third.goodbye?.code, "overloaded");
  assert.match(third.goodbye?.message ?? "", /2 peers are connected to small/);
  assert.equal(statistics.connections, 2);
  assert.equal(statistics.errors.get("overloaded"), 1);
  first[0].link.cut();
  await until("the loss to be seen", () => statistics.connections === 1);
  await dial().shakeHands();
  await settled("closing", transport.close());
  await settled("the end of the second", first[1].gone);
  assert.equal(first[1].goodbye?.code, "closed");
  await turn();
  timers.close();
});

Deno.test("a bay that closes is named no longer: what it still owes is taken, until its connection ends", async () => {
  const gone: DirectoryEntry = {
    id: "far",
    module: "far",
    instance: "far",
    pid: 1,
    startedAtMs: 0,
    wires: { memory: "there" },
    endpoints: [{ pattern: "callable", role: "server", address: "far/slow", wires: ["memory"] }],
  };
  let others = [gone];
  let changed = () => {};
  const directory: Directory = {
    ...EMPTY,
    get others() {
      return others;
    },
    watch: (told) => {
      changed = told;
      return () => {};
    },
  };
  const timers = new TimerWheel();
  const far = new Side("far", timers);
  const gate = Promise.withResolvers<string>();
  const endpoint = far.serve("far/slow", () => gate.promise);
  const sessions: Session[] = [];
  const near = made(directory, {
    listen: () => Promise.reject(new Error("nobody listens")),
    dial: () => {
      const [mine, theirs] = MemoryLink.pair();
      sessions.push(new Session(theirs, false, far.options()));
      return Promise.resolve(mine);
    },
  });
  const call = () => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    promise.catch(() => {});
    near.transport.caller?.("far/slow").start({
      value: 1,
      address: "far/slow",
      timeoutMs: Infinity,
      remainingMs: Infinity,
      codec: undefined,
      priority: 128,
      idempotent: false,
      headers: undefined,
      statistics: new EndpointStatistics("callable", "client", "far/slow", "memory"),
      slot: undefined,
      abandoned: false,
      succeed: resolve,
      fail: reject,
    });
    return promise;
  };
  const answer = call();
  await until("the call", () => endpoint.statistics.calls === 1);
  others = [];
  changed();
  for (let turns = 0; turns < 5; turns++) await turn();
  gate.resolve("finished");
  assert.equal(await settled("the answer", answer), "finished");
  // It lets go when the other side does.
  await sessions[0].close();
  await until("the end", () => near.statistics.connections === 0);
  assert.equal(sessions.length, 1, "dialled again");
  // One that is gone while this side closes holds nothing up.
  others = [gone];
  const pending = call();
  await until("the second call", () => sessions.length === 2);
  others = [];
  changed();
  await settled("closing", near.transport.close());
  await assert.rejects(settled("the second call", pending), { code: "closed" });
  assert.equal(near.statistics.connections, 0);
  await sessions[1].close();
  near.timers.close();
  timers.close();
});
