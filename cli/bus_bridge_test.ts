import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { freePort } from "@patchbay/core/conformance";
import { BusComm, type ModuleView } from "@patchbay/bus";
import { frames as others } from "@patchbay/bus/example";
import {
  ButtonState,
  Distance,
  frames,
  FrameType,
  LedState,
  Ping,
} from "../plugins/bus/testdata/frames.ts";
import { type Child, Place, values } from "./testdata/harness.ts";

const cwd = fileURLToPath(new URL("..", import.meta.url));
const DEADLINE_MS = 30_000;

/** A manager as a process. */
class Manager {
  readonly url: string;
  readonly #place: Place;
  readonly #args: readonly string[];
  #child: Child;

  private constructor(place: Place, port: number, args: readonly string[]) {
    this.#place = place;
    this.url = `tcp://127.0.0.1:${port}`;
    this.#args = ["bus", "--port", String(port), "--json", ...args];
    this.#child = place.start(this.#args, { cwd });
  }

  static async start(place: Place, name: string, args: readonly string[] = []): Promise<Manager> {
    const manager = new Manager(place, freePort(), ["--name", name, ...args]);
    await manager.says(/"ready"/);
    return manager;
  }

  says(wanted: RegExp): Promise<void> {
    return this.#child.says(wanted);
  }

  async kill(): Promise<void> {
    this.#child.signal("SIGKILL");
    await this.#child.ended;
  }

  async again(): Promise<void> {
    this.#child = this.#place.start(this.#args, { cwd });
    await this.says(/"ready"/);
  }
}

interface Status {
  readonly state: string;
  readonly sent: number;
  readonly received: number;
  readonly drops: Readonly<Record<string, number>>;
}

type Row = ModuleView & { readonly manager?: string; readonly bridge?: string };

const modulesOf = (comm: BusComm) => comm.bay.call<null, Row[]>("bus/modules", null);
const bridgesOf = (comm: BusComm) => comm.bay.call<null, Status[]>("bus/bridges", null);

/** Asks again until it is so. */
async function until(what: string, so: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + DEADLINE_MS; performance.now() < end;) {
    if (await so()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`after ${DEADLINE_MS} ms: ${what}`);
}

/** Whether somebody who is no module of this bus listens at it: a bridge. */
async function bridgeHears(comm: BusComm, address: string): Promise<boolean> {
  const rows = await modulesOf(comm);
  return rows.some(({ bridge, hears }) =>
    bridge !== undefined && hears.some(({ pattern }) => pattern === address)
  );
}

/** A module that notes what it gets. */
async function join(url: string, module: string) {
  const comm = await BusComm.open({ module, frames, url, onReport: () => {} });
  const got: number[] = [];
  let ended = 0;
  comm.onFrame((frame) => {
    const distance = frame.as(Distance);
    if (distance !== undefined) got.push(distance.mm);
    else ended++;
  });
  return {
    comm,
    got,
    get ended() {
      return ended;
    },
    [Symbol.asyncDispose]: () => comm.stop(),
  };
}

Deno.test("bridge: frames that are heard there go there, both ways, and only those", async () => {
  await using place = new Place();
  const a = await Manager.start(place, "a");
  const b = await Manager.start(place, "b", ["--bridge", a.url]);
  await b.says(/"bridge".*"up"/);
  await using near = await join(a.url, "near");
  await using far = await join(b.url, "far");
  await far.comm.listenFor([FrameType.DISTANCE, FrameType.PING]);
  await near.comm.listenFor([FrameType.LED_STATE]);
  await until("the bridge listens", async () => {
    return await bridgeHears(near.comm, "frame/distance") &&
      await bridgeHears(near.comm, "frame/ping");
  });
  for (let mm = 0; mm < 100; mm++) {
    await near.comm.send(new Distance({ mm }));
    await near.comm.send(new ButtonState());
  }
  await near.comm.send(new Ping());
  await until("all have come", () => Promise.resolve(far.got.length === 100 && far.ended === 1));
  assert.deepEqual(far.got, Array.from({ length: 100 }, (_, mm) => mm));
  // Buttons were sent, and nobody there hears them.
  const [{ received, drops }] = await bridgesOf(far.comm);
  assert.equal(received, 101);
  assert.deepEqual(drops, {});
  // The other way, though nobody has dialled it.
  await until("it goes back, too", async () => {
    await far.comm.send(new LedState());
    return near.ended > 0;
  });
  // A question is a frame as well; its answer comes once it is known there that it is wanted.
  far.comm.onFrame((frame) => {
    if (frame.request) void far.comm.send(new Distance({ mm: 7 }));
  });
  await near.comm.listenFor([FrameType.DISTANCE]);
  await until("the answers are wanted there", async () => {
    await far.comm.send(new Distance({ mm: 5 }));
    return near.got.includes(5);
  });
  await until("it is answered", async () => {
    return (await near.comm.ask(Distance, { timeoutMs: 10_000 })).mm === 7;
  });
  const rows = await modulesOf(near.comm);
  assert.deepEqual(
    rows.filter(({ bridge }) => bridge === undefined).map(({ name, manager }) => [name, manager]),
    [["near", undefined], ["far", "b"]],
  );
  const top = await place.patchbay(["bus", "top", "--once", "--url", b.url], { cwd });
  assert.match(top.stdout, /= a \(tcp:.*up/);
  assert.match(top.stdout, /near +a /);
});

Deno.test("bridge: in a ring of three each gets each frame once, and nothing goes round", async () => {
  await using place = new Place();
  const a = await Manager.start(place, "a");
  const b = await Manager.start(place, "b", ["--bridge", a.url]);
  const c = await Manager.start(place, "c", ["--bridge", a.url, "--bridge", b.url]);
  await b.says(/"bridge".*"up"/);
  await c.says(/"bridge".*"up"[^]*"bridge".*"up"/);
  await using one = await join(a.url, "one");
  await using two = await join(b.url, "two");
  await using three = await join(c.url, "three");
  const all = [one, two, three];
  for (const { comm } of all) await comm.listenFor([FrameType.DISTANCE]);
  // Known everywhere when each has had a frame of each other one.
  await until("they hear each other", async () => {
    for (const [n, { comm }] of all.entries()) await comm.send(new Distance({ mm: 60_000 + n }));
    return all.every(({ got }, n) =>
      [0, 1, 2].every((other) => other === n || got.includes(60_000 + other))
    );
  });
  for (const each of all) await each.comm.listenFor([FrameType.PING]);
  await until("they hear pings", async () => {
    for (const { comm } of all) await comm.send(new Ping());
    return all.every(({ ended }) => ended > 0);
  });
  for (let n = 0; n < 200; n++) {
    for (const [at, { comm }] of all.entries()) {
      await comm.send(new Distance({ mm: at * 1000 + n }));
    }
  }
  const fresh = (got: readonly number[]) => got.filter((mm) => mm < 60_000);
  await until("all have come", () => {
    return Promise.resolve(all.every(({ got }) => fresh(got).length >= 400));
  });
  // What goes round would come while these go there and back.
  for (const { comm } of all) {
    for (let n = 0; n < 20; n++) await modulesOf(comm);
  }
  for (const [at, { got }] of all.entries()) {
    const wanted = [0, 1, 2].filter((other) => other !== at).flatMap((other) =>
      Array.from({ length: 200 }, (_, n) => other * 1000 + n)
    );
    assert.deepEqual(fresh(got).sort((x, y) => x - y), wanted, `at ${at}`);
  }
  const sent = (await Promise.all(all.map(({ comm }) => bridgesOf(comm)))).flat();
  assert.equal(sent.reduce((sum, { drops }) => sum + (drops.loop ?? 0) + (drops.ttl ?? 0), 0), 0);
});

Deno.test("bridge: a frame goes no further than it may", async () => {
  await using place = new Place();
  const hops = ["--hops", "1"];
  const a = await Manager.start(place, "a", hops);
  const b = await Manager.start(place, "b", [...hops, "--bridge", a.url]);
  const c = await Manager.start(place, "c", [...hops, "--bridge", b.url]);
  await c.says(/"bridge".*"up"/);
  await using one = await join(a.url, "one");
  await using two = await join(b.url, "two");
  await using three = await join(c.url, "three");
  for (const { comm } of [two, three]) await comm.listenFor([FrameType.DISTANCE]);
  await until("two is heard by three", async () => {
    await two.comm.send(new Distance({ mm: 1 }));
    return three.got.includes(1);
  });
  await until("one is heard by two", async () => {
    await one.comm.send(new Distance({ mm: 2 }));
    return two.got.includes(2);
  });
  for (let n = 0; n < 20; n++) await modulesOf(three.comm);
  assert.ok(!three.got.includes(2));
  assert.deepEqual(
    (await modulesOf(three.comm)).flatMap(({ manager }) => manager ?? []),
    ["b"],
  );
});

Deno.test("bridge: buses whose frames differ are not joined, and both say which", async () => {
  await using place = new Place();
  const a = await Manager.start(place, "a");
  await using near = await join(a.url, "near");
  const b = await Manager.start(place, "b");
  await using _far = await (async () => {
    const comm = await BusComm.open({ module: "far", frames: others, url: b.url });
    await comm.listenFor("ALL");
    return comm;
  })();
  await near.comm.listenFor([FrameType.DISTANCE]);
  const c = await Manager.start(place, "c", ["--bridge", a.url]);
  await c.says(/"bridge".*"up"/);
  await using own = await BusComm.open({ module: "own", frames: others, url: c.url });
  await own.listenFor("ALL");
  await c.says(/"bridge".*"refused".*the frame definitions of the bus (a|c) differ: .*DISTANCE/);
});

Deno.test("bridge: when the other manager is killed and started again, it is joined again", async () => {
  await using place = new Place();
  const a = await Manager.start(place, "a");
  const b = await Manager.start(place, "b", ["--bridge", a.url]);
  await using near = await join(a.url, "near");
  await using far = await join(b.url, "far");
  await near.comm.listenFor([FrameType.DISTANCE]);
  await until("it goes there", async () => {
    await far.comm.send(new Distance({ mm: 1 }));
    return near.got.includes(1);
  });
  await a.kill();
  await b.says(/"bridge".*"down"/);
  await until("its modules are gone", async () => {
    return (await modulesOf(far.comm)).every(({ manager }) => manager === undefined);
  });
  await a.again();
  await b.says(/"bridge".*"down"[^]*"bridge".*"up"/);
  await until("it goes there again", async () => {
    await far.comm.send(new Distance({ mm: 2 }));
    return near.got.includes(2);
  });
});

Deno.test("bridge: two that dial each other are joined once, and one that dials itself is told", async () => {
  await using place = new Place();
  const port = freePort();
  const b = `tcp://127.0.0.1:${port}`;
  const a = await Manager.start(place, "a", ["--bridge", b]);
  const other = place.start(
    ["bus", "--port", String(port), "--json", "--name", "b", "--bridge", a.url, "--bridge", b],
    { cwd },
  );
  await other.says(/"ready"/);
  await other.says(/"refused".*that is this manager itself/);
  await using near = await join(a.url, "near");
  await using far = await join(b, "far");
  await until("one stands by", async () => {
    const states = [...await bridgesOf(near.comm), ...await bridgesOf(far.comm)];
    const count = (wanted: string) => states.filter(({ state }) => state === wanted).length;
    return count("up") === 1 && count("standby") === 1;
  });
  await near.comm.listenFor([FrameType.DISTANCE]);
  await until("it goes there", async () => {
    await far.comm.send(new Distance({ mm: 1 }));
    return near.got.includes(1);
  });
  near.got.length = 0;
  for (let mm = 10; mm < 60; mm++) await far.comm.send(new Distance({ mm }));
  await until("all have come", () => Promise.resolve(near.got.includes(59)));
  for (let n = 0; n < 10; n++) await modulesOf(near.comm);
  assert.deepEqual(
    near.got.filter((mm) => mm >= 10),
    Array.from({ length: 50 }, (_, n) => n + 10),
  );
  other.signal("SIGTERM");
  const { code, stdout } = await other.ended;
  assert.equal(code, 0);
  assert.equal(values(stdout)[0].event, "ready");
});
