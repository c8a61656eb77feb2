import assert from "node:assert/strict";
import { type Bay, Patchbay, PatchbayError, type Plugin } from "../mod.ts";
import { configSchema } from "../config.ts";
import { LINK_FIELDS } from "../link_plugin.ts";
import type { Link } from "../link.ts";
import { encodeControl, Kind } from "../session/envelope.ts";
import { Session } from "../session/session.ts";
import { MemoryLink } from "../session/testing/memory_link.ts";
import { settled, Side, turn, until } from "../session/testing/rig.ts";
import { TimerWheel } from "../timer_wheel.ts";
import { HUB_FIELDS, type HubConfig, type HubDriver, hubTransport } from "./hub_transport.ts";

/** A hub wire in memory: dials are counted, and the first frame is read apart from the others. */
class MemoryHub {
  dials = 0;
  joined: (name: string) => void = () => {};
  /** The clients' ends of all that were dialled. */
  readonly links: MemoryLink[] = [];
  #accept: ((link: Link) => void) | undefined;

  /** The plugin of the hub, or of a client. */
  plugin(role: "hub" | "client"): Plugin {
    const driver: HubDriver = role === "hub"
      ? {
        role,
        listen: (accept) => {
          this.#accept = accept;
          return Promise.resolve({ where: "memory", close: () => Promise.resolve() });
        },
        joined: (bay) => this.joined(bay.module),
      }
      : { role, where: "memory", dial: () => Promise.resolve(this.dial()) };
    return {
      name: "memory",
      summary: "a hub in memory",
      capabilities: { callable: true, speaker: true, job: true },
      scope: "process",
      rank: 1,
      traits: {
        ordered: true,
        delivery: "at_most_once",
        retained: true,
        headers: true,
        job: "native",
        maxPayloadBytes: 1024 * 1024 * 1024,
        zeroCopy: false,
        values: false,
        backpressure: true,
        noticesDeath: true,
      },
      config: configSchema<HubConfig>({ ...HUB_FIELDS, ...LINK_FIELDS }),
      available: () => ({ available: true }),
      open: (context, config) => hubTransport(context, driver, config as HubConfig, undefined),
    };
  }

  /** A link to the hub. */
  dial(): MemoryLink {
    this.dials++;
    const [near, far] = MemoryLink.pair();
    this.links.push(near);
    // What comes behind the hello-ack is read when the client has taken it in.
    near.onRead = () => {
      near.onRead = undefined;
      near.pause();
      setTimeout(() => near.resume());
    };
    this.#accept?.(far);
    return near;
  }
}

/** A client that sends the hub what it likes. */
class RawClient implements AsyncDisposable {
  readonly told: { kind: number; id: number; body: Record<string, unknown> }[] = [];
  readonly session: Session;
  readonly #timers = new TimerWheel();

  constructor(hub: MemoryHub, name = "raw") {
    const host = Object.assign(new Side(name, this.#timers), {
      hubFrame: (_from: unknown, kind: number, id: number, body: Record<string, unknown>) => {
        this.told.push({ kind, id, body });
      },
    });
    this.session = new Session(hub.dial(), true, host.options({ host }));
  }

  send(kind: number, id: number, body: Record<string, unknown>): void {
    this.session.sender.control(kind, id, 0, encodeControl(body));
  }

  /** How often it was told that it has been shown everything. */
  get complete(): number {
    return this.told.filter(({ kind, body }) => kind === Kind.watch && body.address === undefined)
      .length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
    this.#timers.close();
  }
}

/** A bay, what it has reported, and when it first did. */
async function opened(hub: MemoryHub, module: string, config: Partial<HubConfig> = {}) {
  const reports: PatchbayError[] = [];
  const reported = Promise.withResolvers<PatchbayError>();
  const bay: Bay = await Patchbay.open({
    plugins: [hub.plugin(module === "hub" ? "hub" : "client")],
    config: { memory: config },
    module,
    onReport: (error) => {
      reports.push(error);
      reported.resolve(error);
    },
  });
  return { bay, reports, reported: reported.promise, [Symbol.asyncDispose]: () => bay.close() };
}

const refused = (code: "invalid" | "overloaded") => () => {
  throw new PatchbayError(code, "not you", { remedy: "go elsewhere" });
};

Deno.test("hub client: a refusal behind the hello-ack fails what waits, with its reason, and is the end", async () => {
  const memory = new MemoryHub();
  await using _hub = await opened(memory, "hub");
  memory.joined = refused("invalid");
  await using module = await opened(memory, "module", { reconnectMinMs: 1, reconnectMaxMs: 1 });
  const reason = { code: "invalid", message: "not you", remedy: "go elsewhere" };
  await assert.rejects(module.bay.listen("a/**", () => {}), reason);
  await assert.rejects(module.bay.serve("a/serve", () => 1), reason);
  const { dials } = memory;
  // So many pauses would have brought more dials.
  for (let turns = 0; turns < 20; turns++) await turn();
  assert.equal(memory.dials, dials);
  // Whoever asks is heard anew: the reason may be gone.
  memory.joined = () => {};
  await module.bay.serve("a/serve", () => 1);
});

Deno.test("hub client: one that is refused when it comes back ends its listeners, and says why", async () => {
  const memory = new MemoryHub();
  await using hub = await opened(memory, "hub");
  await using module = await opened(memory, "module", { reconnectMinMs: 1, reconnectMaxMs: 1 });
  await module.bay.serve("a/serve", () => 1);
  const listener = await module.bay.listen("a/**");
  const reading = (async () => {
    for await (const _ of listener);
  })();
  memory.joined = refused("invalid");
  await hub.bay.close();
  await using again = await opened(memory, "hub");
  await assert.rejects(settled("reading", reading), { code: "invalid", message: "not you" });
  assert.equal((await settled("a report", module.reported)).message, "not you");
  const [wire] = module.bay.wires();
  assert.match(JSON.stringify(wire), /no connection to the hub at memory: not you/);
  assert.equal(again.bay.wires().length, 1);
});

Deno.test("hub client: one that is refused when it comes back fails its jobs, over each connection", async () => {
  const memory = new MemoryHub();
  await using hub = await opened(memory, "hub");
  await hub.bay.perform("a/work", async (_goal, { signal }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  });
  const pauses = { reconnectMinMs: 1, reconnectMaxMs: 1 };
  await using module = await opened(memory, "module", { ...pauses, connections: 2 });
  // Each takes one of the connections by lot: that all of 32 take the first has a chance of 2e-10.
  const begun = Array.from({ length: 32 }, () => module.bay.execute("a/work", undefined));
  const jobs = await settled("accepting", Promise.all(begun));
  memory.joined = refused("invalid");
  for (const link of memory.links.splice(0)) link.cut();
  const ends = await settled("the ends", Promise.allSettled(jobs.map((job) => job.result)));
  const reasons = ends.map((end) => end.status === "rejected" ? end.reason.message : "done");
  assert.deepEqual(new Set(reasons), new Set(["not you"]));
});

Deno.test("hub client: a refusal that may pass is tried again", async () => {
  const memory = new MemoryHub();
  await using hub = await opened(memory, "hub");
  let left = 3;
  memory.joined = () => {
    if (left-- > 0) refused("overloaded")();
  };
  await using module = await opened(memory, "module", { reconnectMinMs: 1, reconnectMaxMs: 1 });
  const heard = Promise.withResolvers<unknown>();
  await module.bay.listen("a/talk", (value) => heard.resolve(value));
  const speaker = await hub.bay.speaker("a/talk", { retain: true });
  await speaker.shout("here");
  let told = false;
  heard.promise.then(() => told = true);
  await until("the listener is heard", () => {
    void speaker.shout("here");
    return told;
  });
  assert.equal(await heard.promise, "here");
  assert.equal(left, -1);
});

Deno.test("hub client: a hub that does not answer keeps nobody from closing", async () => {
  const memory = new MemoryHub();
  await using _hub = await opened(memory, "hub");
  const module = await opened(memory, "module");
  const served = await module.bay.serve("a/serve", () => 1);
  await module.bay.perform("a/work", () => 1);
  await module.bay.speaker("a/talk");
  // Nothing that it says is heard any longer, as if its process had been stopped.
  memory.links[0].pause();
  await settled("the end of one server", served.close());
  await settled("the end of all", module.bay.close());
});

Deno.test("hub: one pattern that is watched over and over is looked at once in a turn", async () => {
  const memory = new MemoryHub();
  await using hub = await opened(memory, "hub");
  await hub.bay.serve("a/serve", () => 1);
  await using client = new RawClient(memory);
  await client.session.ready;
  for (let n = 0; n < 1000; n++) client.send(Kind.watch, 7, { match: "**" });
  client.send(Kind.find, 8, { pattern: "callable", address: "a/serve" });
  await until("all is read", () => client.told.some(({ kind }) => kind === Kind.presence));
  await until("all is shown", () => client.complete > 0);
  for (let turns = 0; turns < 20; turns++) await turn();
  assert.ok(client.complete < 100, `${client.complete} looks for 1000 frames`);
  const shown = client.told.filter(({ body }) => body.address === "a/serve");
  assert.ok(shown.length > 0 && shown.length < 100);
});

Deno.test("hub: a client's second speaker at an address is shown to who watches", async () => {
  const memory = new MemoryHub();
  await using _hub = await opened(memory, "hub");
  await using module = await opened(memory, "module");
  await using client = new RawClient(memory);
  await client.session.ready;
  client.send(Kind.watch, 1, { match: "a/*" });
  await until("all is shown", () => client.complete > 0);
  const retains = () => {
    const { offers } = client.told.at(-1)?.body ?? {};
    return Array.isArray(offers) ? offers.map(({ retain }) => retain) : [];
  };
  await module.bay.speaker("a/talk");
  await until("the first", () => retains().length === 1);
  const second = await module.bay.speaker("a/talk", { retain: true });
  await until("the second", () => retains().length === 2);
  assert.deepEqual(retains(), [false, true]);
  await second.close();
  await until("the first alone", () => retains().length === 1);
});

Deno.test("hub: retained values are kept up to a bound, told, and late listeners miss none", async () => {
  const memory = new MemoryHub();
  await using hub = await opened(memory, "hub", { maxQueueBytes: 64 * 1024 });
  await using module = await opened(memory, "module");
  await using early = await opened(memory, "early");
  await using late = await opened(memory, "late");
  const listening = async ({ bay }: { bay: Bay }, count: number) => {
    const sizes = new Map<string, number>();
    await bay.listen<Uint8Array>("a/*", (value, { address }) => {
      sizes.set(address, value.length);
    }, { retained: true });
    await until(`${count} values`, () => sizes.size === count);
    return sizes;
  };
  for (let n = 0; n < 6; n++) {
    const speaker = await module.bay.speaker(`a/s${n}`, { retain: true });
    await speaker.shout(new Uint8Array(20_000));
  }
  await listening(early, 6);
  // Six of 20 kB are over 64 KiB: the hub says so once.
  const error = await settled("a report", hub.reported);
  assert.equal(error.code, "overloaded");
  assert.match(error.message, /the retained values of module have over 65536 bytes/);
  assert.match(error.remedy ?? "", /maxQueueBytes/);
  const sizes = await listening(late, 6);
  assert.deepEqual(new Set(sizes.values()), new Set([20_000]));
  assert.equal(hub.reports.length, 1);
});

Deno.test("hub: a value is kept as long as a speaker of its address keeps it", async () => {
  const memory = new MemoryHub();
  await using _hub = await opened(memory, "hub");
  await using module = await opened(memory, "module");
  await using other = await opened(memory, "other");
  const keeping = await module.bay.speaker("a/talk", { retain: true });
  const passing = await module.bay.speaker("a/talk");
  /** What a listener hears that comes now, up to what is shouted next. */
  const heardFrom = async (value: number) => {
    const heard: unknown[] = [];
    await other.bay.listen("a/talk", (each) => void heard.push(each), { retained: true });
    await passing.shout(value);
    await until("the shout", () => heard.includes(value));
    return heard;
  };
  await keeping.shout(1);
  assert.deepEqual(await heardFrom(2), [1, 2]);
  await keeping.close();
  // What was kept has gone with it, and what the other one shouts is not kept.
  assert.deepEqual(await heardFrom(3), [3]);
  assert.deepEqual(await heardFrom(4), [4]);
});

Deno.test("hub: of many who serve an address some are named, and who asks is told in one frame", async () => {
  const memory = new MemoryHub();
  await using _hub = await opened(memory, "hub");
  await using stack = new AsyncDisposableStack();
  const servers = Array.from({ length: 500 }, (_, n) => {
    return stack.use(new RawClient(memory, `${n}`.padEnd(64, "-")));
  });
  for (const server of servers) {
    await server.session.ready;
    server.send(Kind.register, 1, { pattern: "callable", address: "a/serve", shared: true });
  }
  await until("all serve", () => servers.every(({ told }) => told.length === 1));
  await using client = new RawClient(memory);
  await client.session.ready;
  client.send(Kind.find, 1, { pattern: "callable", address: "a/serve" });
  await until("an answer", () => client.told.length === 1 || !client.session.isOpen);
  assert.equal(client.session.isOpen, true);
  const { found, detail } = client.told[0].body;
  assert.equal(found, true);
  assert.match(String(detail), /^0-+, 1-+, .* and 484 others at the hub$/);
});
