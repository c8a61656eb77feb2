import assert from "node:assert/strict";
import { type Bay, Patchbay, PatchbayError, type Plugin } from "../mod.ts";
import { configSchema } from "../config.ts";
import { LINK_FIELDS } from "../link_plugin.ts";
import type { Link } from "../link.ts";
import { MemoryLink } from "../session/testing/memory_link.ts";
import { HUB_FIELDS, type HubConfig, type HubDriver, hubTransport } from "./hub_transport.ts";

/** A hub wire in memory: dials are counted, and the first frame is read apart from the others. */
class MemoryHub {
  dials = 0;
  joined: (name: string) => void = () => {};
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
      : { role, where: "memory", dial: () => Promise.resolve(this.#dial()) };
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

  #dial(): MemoryLink {
    this.dials++;
    const [near, far] = MemoryLink.pair();
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
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
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
  await assert.rejects(reading, { code: "invalid", message: "not you" });
  assert.equal((await module.reported).message, "not you");
  const [wire] = module.bay.wires();
  assert.match(JSON.stringify(wire), /given up on the hub at memory: not you/);
  assert.equal(again.bay.wires().length, 1);
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
  for (let turn = 0; turn < 1000 && !told; turn++) {
    await speaker.shout("here");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(await heard.promise, "here");
  assert.equal(left, -1);
});
