/**
 * A cluster of three nodes, one of which dies; and Sentinel.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Bay, open, type PatchbayError, type Plugin, type Speaker } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import { freePort } from "@patchbay/core/conformance";
import { Broker, probeRedis } from "./redis_fixture.ts";
import type { RedisConfig } from "./config.ts";
import redis, { durable } from "./mod.ts";

const need = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server redis-tools");

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 40_000;
  while (!await check()) {
    if (performance.now() > endMs) throw new Error(`it did not come to that: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

interface Place {
  readonly nodes: readonly Broker[];
  readonly reports: PatchbayError[];
  bay(module: string, plugin?: Plugin, config?: Partial<RedisConfig>): Promise<Bay>;
}

/** A port whose cluster bus (10,000 higher) is free, too. */
function clusterPort(): number {
  for (;;) {
    const port = freePort();
    if (port >= 55_000) continue;
    try {
      Deno.listen({ hostname: "127.0.0.1", port: port + 10_000 }).close();
      return port;
    } catch {
      // It is taken: another one.
    }
  }
}

/** Three primaries. */
async function startCluster(stack: AsyncDisposableStack): Promise<Broker[]> {
  const nodes: Broker[] = [];
  for (let i = 0; i < 3; i++) {
    nodes.push(stack.use(
      await Broker.start({
        port: clusterPort(),
        lines: [
          "cluster-enabled yes",
          "cluster-config-file nodes.conf",
          "cluster-node-timeout 1000",
          "cluster-require-full-coverage no",
        ],
      }),
    ));
  }
  const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`);
  const made = await nodes[0].cli(["--cluster", "create", ...hosts, "--cluster-yes"]);
  assert.match(made, /All 16384 slots covered/);
  for (const node of nodes) {
    await until("every node to see all", async () => {
      const info = await node.cli(["CLUSTER", "INFO"]);
      return /cluster_state:ok/.test(info) && /cluster_known_nodes:3/.test(info);
    });
  }
  return nodes;
}

function test(title: string, run: (place: Place) => Promise<void>): void {
  Deno.test({
    name: need.name(`redis cluster: ${title}`),
    ignore: need.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const nodes = await startCluster(stack);
      const cluster = nodes.map(({ port }) => `127.0.0.1:${port}`);
      const reports: PatchbayError[] = [];
      await run({
        nodes,
        reports,
        bay: async (module, plugin = redis, config = {}) =>
          stack.use(
            await open({
              module,
              plugins: [plugin],
              config: {
                redis: {
                  cluster,
                  deathMs: 300,
                  reconnectMinMs: 10,
                  reconnectMaxMs: 200,
                  ...config,
                },
              },
              onReport: (error) => reports.push(error),
            }),
          ),
      });
    },
  });
}

/** Modules whose addresses lie on each of the nodes. */
async function oneOnEach(nodes: readonly Broker[]): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; found.filter(Boolean).length < nodes.length; i++) {
    const name = `m${i}`;
    for (const [n, node] of nodes.entries()) {
      // A node answers for its own keys, and sends away for others.
      if (found[n] === undefined && !(await node.cli(["GET", `{${name}}`])).startsWith("MOVED")) {
        found[n] = name;
      }
    }
  }
  return found;
}

test("calls, jobs, shouts and presence, whichever node they lie on", async ({ nodes, bay }) => {
  const far = await bay("far");
  const near = await bay("near");
  assert.deepEqual(far.wires().map(({ open, reason }) => [open, reason]), [[true, undefined]]);
  for (const module of await oneOnEach(nodes)) {
    await assert.rejects(near.call(`${module}/echo`, 1), { code: "not_found" });
    await far.serve(`${module}/echo`, (value) => value);
    assert.equal(await near.call(`${module}/echo`, module), module);
    await far.perform(`${module}/job`, async function* () {
      yield await Promise.resolve(1);
      return "done";
    });
    const job = await near.execute(`${module}/job`, null);
    assert.equal(await job.result, "done");
    const heard = Promise.withResolvers<unknown>();
    await near.listen(`${module}/*`, (value) => heard.resolve(value));
    const speaker = await far.speaker(`${module}/tick`);
    await speaker.shout("tick");
    assert.equal(await heard.promise, "tick");
    await until("the speaker to know its listener", () => speaker.listeners === 1);
  }
});

test("no responder is told at once, before a server, after it closed, and after it died", async (place) => {
  const { nodes, bay } = place;
  const near = await bay("near");
  for (const module of await oneOnEach(nodes)) {
    const address = `${module}/x`;
    const callable = near.callable(address);
    const nobody = { code: "not_found" } as const;
    await assert.rejects(callable.call(1, { timeoutMs: Infinity }), nobody);
    const far = await bay(`far-${module}`);
    const served = await far.serve(address, (value) => value);
    await until("it to be found", () => callable.call(2).then((v) => v === 2, () => false));
    await served.close();
    await assert.rejects(callable.call(3, { timeoutMs: Infinity }), nobody);
  }
  const program = `
    import { open } from "@patchbay/core";
    import redis from "${new URL("./mod.ts", import.meta.url).href}";
    const cluster = ${JSON.stringify(nodes.map(({ port }) => `127.0.0.1:${port}`))};
    const bay = await open({ module: "doomed", plugins: [redis], config: { redis: { cluster } } });
    await bay.serve("doomed/hang", () => (console.log("taken"), new Promise(() => {})));
    console.log("ready");`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", "--ext=ts", program],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  const ends = assert.rejects(near.call("doomed/hang", 1, { timeoutMs: Infinity }), {
    code: "closed",
  });
  await reader.read();
  child.kill("SIGKILL");
  await reader.cancel();
  await child.status;
  await ends;
  await assert.rejects(near.call("doomed/hang", 1, { timeoutMs: Infinity }), { code: "not_found" });
});

test("shared servers on the same address get calls both", async ({ bay }) => {
  const near = await bay("near");
  for (const name of ["left", "right"]) {
    const server = await bay(name);
    await server.serve("shared/tag", () => name, { sharing: "shared" });
  }
  const seen = new Set<unknown>();
  await until("both to be called", async () => {
    for (const tag of await Promise.all([1, 2, 3, 4].map((n) => near.call("shared/tag", n)))) {
      seen.add(tag);
    }
    return seen.size === 2;
  });
});

test("shouts over sharded pub/sub", async ({ nodes, bay }) => {
  const far = await bay("far", redis, { sharded: true });
  const near = await bay("near", redis, { sharded: true });
  for (const module of await oneOnEach(nodes)) {
    const heard: unknown[] = [];
    const listener = await near.listen(`${module}/tick`, (value) => void heard.push(value));
    const speaker = await far.speaker<number>(`${module}/tick`);
    for (let n = 1; n <= 100; n++) await speaker.shout(n);
    await until("all to be heard", () => heard.length === 100);
    assert.deepEqual(heard, Array.from({ length: 100 }, (_, i) => i + 1));
    const channel = `patchbay:shout:${module}/tick`;
    let subscribed = 0;
    for (const node of nodes) {
      const told = await node.cli(["PUBSUB", "SHARDNUMSUB", channel]);
      subscribed += Number(told.split("\n")[1]);
      assert.match(await node.cli(["PUBSUB", "NUMSUB", channel]), /\n0$/, "nothing unsharded");
    }
    assert.equal(subscribed, 1);
    await listener.close();
  }
  await assert.rejects(near.listen("x/*"), { code: "invalid", message: /no patterns/ });
});

test("keys: a watch tells of changes on every node, and says so when one is lost", async (place) => {
  const { nodes } = place;
  const desk = await place.bay("desk") as Bay<readonly [typeof redis]>;
  const { keys } = desk.transport(redis);
  const watch = keys.watch("{");
  const first = watch.next();
  await until("it to watch every node", async () => {
    const lists = await Promise.all(nodes.map((node) => node.cli(["CLIENT", "LIST"])));
    return lists.every((list) => /flags=\w*B/.test(list));
  });
  const modules = await oneOnEach(nodes);
  let next = first;
  for (const module of modules) {
    await keys.set(`{${module}}:mode`, module);
    assert.deepEqual((await next).value, { key: `{${module}}:mode`, value: module });
    next = watch.next();
  }
  const lost = assert.rejects(next, { code: "closed" });
  await nodes[2].kill();
  await lost;
});

/** The connection on which a bay hears plain pub/sub lies on one node: that one. */
async function subscribedAt(nodes: readonly Broker[], module: string): Promise<number[]> {
  const found: number[] = [];
  for (const [n, node] of nodes.entries()) {
    const list = await node.cli(["CLIENT", "LIST", "TYPE", "pubsub"]).catch(() => "");
    const mine = list.split("\n").filter((line) => line.includes(`patchbay:${module}`));
    if (mine.some((line) => / psub=[1-9]/.test(line))) found.push(n);
  }
  return found;
}

test("pub/sub: the node dies at which a bay listens; it listens at another one", async (place) => {
  const { nodes, bay } = place;
  const far = await bay("far");
  const near = await bay("near");
  const modules = await oneOnEach(nodes);
  const heard: unknown[] = [];
  const speakers = [];
  for (const module of modules) {
    await near.listen(`${module}/tick`, (value) => void heard.push(value));
    speakers.push(await far.speaker(`${module}/tick`));
  }
  await until("it to listen somewhere", async () => (await subscribedAt(nodes, "near")).length > 0);
  const [dying] = await subscribedAt(nodes, "near");
  await nodes[dying].kill();
  for (const [n, speaker] of speakers.entries()) {
    await until(`shout ${n} to be heard`, async () => {
      await speaker.shout(`again ${n}`);
      return heard.includes(`again ${n}`);
    });
  }
});

test("sharded pub/sub: a node dies and comes back; it is listened to again", async (place) => {
  const { nodes, bay } = place;
  const far = await bay("far", redis, { sharded: true });
  const near = await bay("near", redis, { sharded: true });
  // A shard is found by the whole channel, which has no hash tag.
  const heard: unknown[] = [];
  const speakers: Speaker<unknown>[] = [];
  const places: number[] = [];
  for (let i = 0; new Set(places).size < 3; i++) {
    const address = `m${i}/tick`;
    await near.listen(address, (value) => void heard.push(value));
    speakers.push(await far.speaker(address));
    for (const [n, node] of nodes.entries()) {
      const told = await node.cli(["PUBSUB", "SHARDNUMSUB", `patchbay:shout:${address}`]);
      if (told.endsWith("1")) places.push(n);
    }
    assert.equal(places.length, speakers.length, "each lies somewhere");
  }
  await nodes[1].kill();
  const shoutUntilHeard = async (i: number, word: string) =>
    await until(`${word} at node ${places[i]} to be heard`, async () => {
      await speakers[i].shout(`${word} ${i}`);
      return heard.includes(`${word} ${i}`);
    });
  for (const i of speakers.keys()) if (places[i] !== 1) await shoutUntilHeard(i, "meanwhile");
  await nodes[1].restart();
  for (const i of speakers.keys()) await shoutUntilHeard(i, "after");
});

test("a bay closes although nodes are down", async (place) => {
  const { nodes, bay } = place;
  const modules = await oneOnEach(nodes);
  const bays = await Promise.all(["one", "two"].map((module) => bay(module)));
  for (const [n, one] of bays.entries()) {
    for (const module of modules) {
      await one.serve(`${module}/echo${n}`, (value) => value);
      await one.speaker(`${module}/tick${n}`);
      await one.listen(`${module}/tick`, () => {});
    }
  }
  await nodes[2].kill();
  await bays[0].close();
  // Two of three: now no node answers for its keys any more.
  await nodes[1].kill();
  await until("the cluster to be down", async () => {
    return /CLUSTERDOWN/.test(await nodes[0].cli(["GET", `{${modules[0]}}`]));
  });
  await bays[1].close();
});

test("a node dies: what lies on the others goes on, and what lay on it says so", async (place) => {
  const { nodes, bay } = place;
  const far = await bay("far", durable);
  const near = await bay("near", durable);
  const modules = await oneOnEach(nodes);
  for (const module of modules) await far.serve(`${module}/echo`, (value) => value);
  const heard = modules.map((): number[] => []);
  const speakers = [];
  for (const [i, module] of modules.entries()) {
    await near.listen<number>(`${module}/log`, (n) => void heard[i].push(n));
    speakers.push(await far.speaker<number>(`${module}/log`));
    assert.equal(await near.call(`${module}/echo`, i), i);
  }
  // Not the node that holds the caller's stream of replies: without it nobody could answer.
  const replies = `patchbay:reply:{${near.identity.id}}`;
  let dying = 0;
  while (!(await nodes[dying].cli(["EXISTS", replies])).startsWith("MOVED")) dying++;
  await nodes[dying].kill();
  const living = [0, 1, 2].filter((n) => n !== dying);
  for (const n of living) {
    await until(
      `calls to ${modules[n]} to go on`,
      () =>
        near.call(`${modules[n]}/echo`, 7, { timeoutMs: 1000 }).then((v) => v === 7, () => false),
    );
    await speakers[n].shout(1);
    await until("a shout to be heard", () => heard[n].length >= 1);
  }
  const error: PatchbayError = await near.call(`${modules[dying]}/echo`, 1, { timeoutMs: 3000 })
    .then(() => assert.fail("a dead node has answered"), (error) => error);
  assert.ok(["unavailable", "not_found", "closed", "deadline_exceeded"].includes(error.code));
  // It comes back, and with it what lay on it.
  await speakers[dying].shout(1);
  await nodes[dying].restart();
  await until("the shout that was kept to be heard", () => heard[dying].length >= 1);
  assert.deepEqual(heard[dying], [1]);
});

Deno.test({
  name: need.name("redis: Sentinel tells where the primary is, and of the new one when it dies"),
  ignore: need.ignore,
  fn: async () => {
    await using stack = new AsyncDisposableStack();
    const primary = stack.use(await Broker.start());
    const replica = stack.use(
      await Broker.start({
        lines: [`replicaof 127.0.0.1 ${primary.port}`, "repl-diskless-sync-delay 0"],
      }),
    );
    await until("the replica to be in step", async () => {
      return /master_link_status:up/.test(await replica.cli(["INFO", "replication"]));
    });
    const sentinel = stack.use(
      await Broker.start({
        flags: ["--sentinel"],
        sentinel: [
          `sentinel monitor robot 127.0.0.1 ${primary.port} 1`,
          "sentinel down-after-milliseconds robot 500",
          "sentinel failover-timeout robot 2000",
        ],
      }),
    );
    await until("the sentinel to know the replica", async () => {
      const replicas = await sentinel.cli(["SENTINEL", "REPLICAS", "robot"]);
      return replicas.includes(String(replica.port));
    });
    const config = {
      redis: {
        sentinels: [`127.0.0.1:${sentinel.port}`],
        sentinelName: "robot",
        reconnectMinMs: 20,
        reconnectMaxMs: 200,
      },
    };
    const far = stack.use(await open({ module: "far", plugins: [redis], config }));
    assert.deepEqual(far.wires().map(({ open, reason }) => [open, reason]), [[true, undefined]]);
    const near = stack.use(await open({ module: "near", plugins: [redis], config }));
    await far.serve("far/echo", (value) => value);
    assert.equal(await near.call("far/echo", 1), 1);
    const heard: unknown[] = [];
    await near.listen("far/tick", (value) => void heard.push(value));
    const tick = await far.speaker("far/tick");
    const goesOn = async (word: string) => {
      await until(
        "a call to go through over the new primary",
        () => near.call("far/echo", 2, { timeoutMs: 1000 }).then((v) => v === 2, () => false),
      );
      await until("a shout to be heard over the new primary", async () => {
        await tick.shout(word);
        return heard.includes(word);
      });
    };
    const roleOf = async (broker: Broker, role: string) =>
      (await broker.cli(["INFO", "replication"])).includes(`role:${role}`);
    // One that is planned: the old primary lives on, and must not be spoken to any more.
    await until("the sentinel to begin it", async () => {
      return await sentinel.cli(["SENTINEL", "FAILOVER", "robot"]) === "OK";
    });
    await until("the roles to be changed", async () => {
      return await roleOf(replica, "master") && await roleOf(primary, "slave");
    });
    await goesOn("planned");
    await until("the old primary to be in step", async () => {
      return /master_link_status:up/.test(await primary.cli(["INFO", "replication"]));
    });
    await replica.kill();
    await until("the next primary to be chosen", () => roleOf(primary, "master"));
    await goesOn("unplanned");
  },
});

Deno.test({
  name: need.name(
    "redis: a wrong password of a sentinel, or a name it does not know, is told at once",
  ),
  ignore: need.ignore,
  fn: async () => {
    await using stack = new AsyncDisposableStack();
    const primary = stack.use(
      await Broker.start({ lines: ["requirepass inner"], password: "inner" }),
    );
    const sentinel = stack.use(
      await Broker.start({
        flags: ["--sentinel"],
        password: "outer",
        sentinel: [
          "requirepass outer",
          `sentinel monitor robot 127.0.0.1 ${primary.port} 1`,
          "sentinel auth-pass robot inner",
        ],
      }),
    );
    const right = {
      sentinels: [`127.0.0.1:${sentinel.port}`],
      sentinelName: "robot",
      sentinelPassword: "outer",
      password: "inner",
      connectTimeoutMs: 20_000,
    };
    const opened = async (config: Partial<RedisConfig>) => {
      await using bay = await open({
        module: "far",
        plugins: [redis],
        config: { redis: { ...right, ...config } },
      });
      const [{ open: isOpen, reason, remedy }] = bay.wires();
      return { isOpen, reason: reason ?? "", remedy: remedy ?? "" };
    };
    assert.deepEqual(await opened({}), { isOpen: true, reason: "", remedy: "" });
    for (const wrong of [{ sentinelPassword: "wrong" }, { sentinelPassword: undefined }]) {
      const { isOpen, reason, remedy } = await opened(wrong);
      assert.equal(isOpen, false);
      assert.match(reason, /WRONGPASS|NOAUTH/);
      assert.match(remedy, /config\.redis\.sentinelPassword/);
    }
    const inner = await opened({ password: "wrong" });
    assert.match(inner.reason, /WRONGPASS/);
    assert.match(inner.remedy, /config\.redis\.username and password/);
    const unknown = await opened({ sentinelName: "nobody" });
    assert.equal(unknown.isOpen, false);
    assert.match(unknown.remedy, /config\.redis\.sentinelName/);
    const nowhere = await opened({ sentinels: [`127.0.0.1:${freePort()}`] });
    assert.match(nowhere.reason, /127\.0\.0\.1:\d+\): no sentinel answers: they refuse/);
    assert.match(nowhere.remedy, /config\.redis\.sentinels/);
  },
});
