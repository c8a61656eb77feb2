/**
 * What is begun at an address while something else there is still being begun or ended.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Bay, open, type Plugin } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import { Broker, probeRedis } from "./redis_fixture.ts";
import redis, { durable } from "./mod.ts";

const need = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server redis-tools");

/** How often each overlap is tried: which of the two is first at the server is not ours to say. */
const ROUNDS = 20;

type MakeBay = (module: string, plugin?: Plugin) => Promise<Bay>;

function test(title: string, run: (bay: MakeBay) => Promise<void>): void {
  Deno.test({
    name: need.name(`redis overlap: ${title}`),
    ignore: need.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const broker = stack.use(await Broker.start());
      await run(async (module, plugin = redis) =>
        stack.use(
          await open({ module, plugins: [plugin], config: { redis: { port: broker.port } } }),
        )
      );
    },
  });
}

async function until(what: string, check: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!check()) {
    if (performance.now() > endMs) throw new Error(`it did not come to that: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("two shared servers of one bay that begin at once both get calls", async (bay) => {
  const far = await bay("far");
  const near = await bay("near");
  const sharing = "shared";
  const [one, two] = await Promise.all([
    far.serve("far/x", () => "one", { sharing }),
    far.serve("far/x", () => "two", { sharing }),
  ]);
  const answers = new Set<unknown>();
  for (let i = 0; i < 4; i++) answers.add(await near.call("far/x", i));
  assert.deepEqual([...answers].sort(), ["one", "two"]);
  await one.close();
  assert.equal(await near.call("far/x", 0), "two");
  await two.close();
  await assert.rejects(near.call("far/x", 0), { code: "not_found" });
});

test("what is served again while the server before it ends is served", async (bay) => {
  const far = await bay("far");
  const near = await bay("near");
  const sharing = "shared";
  let server = await far.serve("far/x", () => -1, { sharing });
  for (let i = 0; i < ROUNDS; i++) {
    const closing = server.close();
    const next = far.serve("far/x", () => i, { sharing });
    await closing;
    server = await next;
    assert.equal(await near.call("far/x", null), i);
  }
});

for (const [name, plugin] of [["pub/sub", redis], ["Streams", durable]] as const) {
  test(`who begins to listen over ${name} while another one ends hears`, async (bay) => {
    const far = await bay("far", plugin);
    const near = await bay("near", plugin);
    const speaker = await far.speaker("far/tick");
    const heard: number[] = [];
    const hear = () =>
      near.listen("far/tick", (value) => void heard.push(value as number), { retained: true });
    let listener = await hear();
    for (let i = 0; i < ROUNDS; i++) {
      const next = hear();
      const closing = listener.close();
      listener = await next;
      await closing;
      await speaker.shout(i);
      await until(`shout ${i} to be heard`, () => heard.includes(i));
    }
  });

  test(`the last value stays while one of two speakers over ${name} is there`, async (bay) => {
    const far = await bay("far", plugin);
    const near = await bay("near", plugin);
    const first = await far.speaker("far/state", { retain: true });
    const second = await far.speaker("far/state", { retain: true });
    await first.shout("up");
    await first.close();
    const heard = Promise.withResolvers<unknown>();
    await near.listen("far/state", (value) => heard.resolve(value), { retained: true });
    await second.shout("down");
    assert.equal(await heard.promise, "up");
    // Another bay's newer one stays, too.
    const elsewhere = await bay("elsewhere", plugin);
    const third = await elsewhere.speaker("far/state", { retain: true });
    await third.shout("sideways");
    await second.close();
    const later = Promise.withResolvers<unknown>();
    await near.listen("far/state", (value) => later.resolve(value), { retained: true });
    await third.shout("on");
    assert.equal(await later.promise, "sideways");
  });
}

test("speakers that begin at once all know who listens", async (bay) => {
  const far = await bay("far");
  const near = await bay("near");
  await near.listen("far/*", () => {});
  const speakers = await Promise.all([1, 2, 3].map((n) => far.speaker(`far/${n}`)));
  assert.deepEqual(speakers.map(({ listeners }) => listeners), [1, 1, 1]);
});
