import assert from "node:assert/strict";
import { type Bay, Patchbay, PatchbayError } from "@patchbay/core";
import { CuttingProxy, freePort } from "@patchbay/core/conformance";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import grpc, { parseProto, ServiceClient } from "./mod.ts";
import { modulesForNode, NodePeer } from "./node_peer.ts";

const QUICK = { reconnectMinMs: 10, reconnectMaxMs: 100 };

function openBay(module: string, config: Record<string, unknown>): Promise<Bay<[typeof grpc]>> {
  return Patchbay.open({ module, plugins: [grpc], config: { grpc: { ...QUICK, ...config } } });
}

async function until(what: string, claim: () => boolean | Promise<boolean>): Promise<void> {
  const late = AbortSignal.timeout(20_000);
  while (!await claim()) {
    if (late.aborted) assert.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function healthOf(bay: Bay<[typeof grpc]>): string | undefined {
  const { transports } = bay.statistics.snapshot(Date.now());
  return transports.find(({ name }) => name === "grpc")?.health;
}

Deno.test("faults: a server restarted under load: only calls in flight fail, and the client reconnects", async () => {
  const port = freePort();
  const served = async () => {
    const bay = await openBay("arm", { listen: { port }, graceMs: 0 });
    await bay.serve("arm/echo", (value) => value);
    return bay;
  };
  let arm = await served();
  await using desk = await openBay("desk", { peers: [`grpc://127.0.0.1:${port}`] });
  const echo = desk.callable<number, number>("arm/echo");
  const outcome = { answered: 0, wrong: 0, codes: new Map<string, number>() };
  let running = true;
  let restarts = 0;
  const unexpected: string[] = [];
  const load = Array.from({ length: 16 }, async () => {
    for (let n = 0; running; n++) {
      try {
        if (await echo.call(n) === n) outcome.answered++;
        else outcome.wrong++;
      } catch (error) {
        const { code, message } = error as PatchbayError;
        if (!["closed", "unavailable", "not_found"].includes(code)) unexpected.push(message);
        outcome.codes.set(code, (outcome.codes.get(code) ?? 0) + 1);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  });
  try {
    for (; restarts < 3; restarts++) {
      const before = outcome.answered;
      await until("calls are answered", () => outcome.answered > before + 200);
      await arm.close();
      await until("the loss is told", () => healthOf(desk) === "degraded");
      arm = await served();
    }
    const before = outcome.answered;
    await until("calls are answered again", () => outcome.answered > before + 200);
    await until("all is well", () => healthOf(desk) === "healthy");
  } finally {
    running = false;
    await Promise.all(load);
    await arm.close();
  }
  assert.equal(outcome.wrong, 0);
  // While it is down calls fail at once, with a code that says so; never by their deadline.
  assert.deepEqual(unexpected, []);
  const { transports } = desk.statistics.snapshot(Date.now());
  assert.ok((transports.find(({ name }) => name === "grpc")?.reconnections ?? 0) >= 3);
});

Deno.test("faults: a server that closes lets calls in flight end within its grace", async () => {
  const proto = parseProto(`syntax = "proto3"; package t; message M { int32 n = 1; }
    service Slow { rpc Do(M) returns (M); }`);
  const arm = await openBay("arm", { listen: { port: 0 } });
  const begun = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  await arm.transport(grpc).serveService({
    proto,
    handlers: {
      Do: async (m: { n: number }) => {
        begun.resolve();
        await go.promise;
        return m;
      },
    },
  });
  const target = arm.transport(grpc).url;
  await using client = await ServiceClient.connect({ proto, target });
  const call = client.callMethod("Do", { n: 5 });
  await begun.promise;
  const closing = arm.close();
  go.resolve();
  assert.deepEqual(await call, { n: 5 });
  await closing;
  const error = await client.callMethod("Do", {}).then(() => assert.fail(), (e) => e);
  assert.equal(error.code, "unavailable");
});

Deno.test("faults: whenDown wait: a call waits for its server until its deadline", async () => {
  const port = freePort();
  await using desk = await openBay("desk", {
    peers: [`grpc://127.0.0.1:${port}`],
    whenDown: "wait",
  });
  const first = await desk.call("arm/echo", 1).then(() => assert.fail(), (e) => e);
  assert.match(first.message, new RegExp(`127\\.0\\.0\\.1:${port}`));
  assert.equal(first.code, "not_found");
  const arm = await openBay("arm", { listen: { port } });
  await arm.serve("arm/echo", (value) => value);
  const echo = desk.callable<number, number>("arm/echo");
  await until("it is found", () => echo.call(2).then((n) => n === 2, () => false));
  await arm.close();
});

Deno.test("faults: a live socket is never taken over, a dead one's file is", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  const path = `${folder}/arm.grpc.sock`;
  const first = await openBay("arm", { listen: { path } });
  await first.serve("arm/echo", (value) => value);
  const second = await openBay("arm", { listen: { path } });
  const error = await second.serve("arm/echo", () => 1, { via: ["grpc"] })
    .then(() => assert.fail(), (e) => e);
  assert.equal(error.code, "unavailable");
  assert.match(error.message, /live process listens/);
  assert.equal((Deno.lstatSync(path).mode ?? 0) & 0o777, 0o600);
  await second.close();
  await using desk = await openBay("desk", { peers: [`unix:${path}`] });
  assert.equal(await desk.call("arm/echo", 1), 1);
  await first.close();
  assert.throws(() => Deno.lstatSync(path), Deno.errors.NotFound);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("faults: a connection on which nothing moves is found dead by keepalive, long before a deadline", async () => {
  const arm = await openBay("arm", { listen: { port: 0 } });
  await arm.serve("arm/echo", (value) => value);
  const proxy = new CuttingProxy(Number(arm.transport(grpc).url.split(":").at(-1)));
  const desk = await openBay("desk", {
    peers: [`grpc://127.0.0.1:${proxy.port}`],
    keepaliveMs: 100,
    keepaliveTimeoutMs: 100,
  });
  const echo = desk.callable<number, number>("arm/echo");
  assert.equal(await echo.call(1), 1);
  proxy.stall();
  const error = await echo.call(2, { timeoutMs: 30_000 }).then(() => assert.fail(), (e) => e);
  assert.equal(error.code, "closed", error.message);
  proxy.cut();
  await until("it answers again", () => echo.call(3).then((n) => n === 3, () => false));
  await desk.close();
  await proxy.close();
  await arm.close();
});

Deno.test("faults: a bay that has closed is no trouble of those that knew it", async () => {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const open = (module: string) =>
    Patchbay.open({
      module,
      plugins: [grpc],
      config: { grpc: QUICK },
      directory: (identity) => HostDirectory.open(identity, { path }),
    });
  const desk = await open("desk");
  for (let n = 0; n < 6; n++) {
    const arm = await open(`arm${n}`);
    await arm.serve(`arm${n}/echo`, (value) => value);
    await using _tick = await arm.speaker(`arm${n}/tick`);
    if (n % 2 === 0) await desk.listen(`arm${n}/*`, () => {});
    assert.equal(await desk.call(`arm${n}/echo`, n), n);
    await arm.close();
  }
  await until("all is well", () => healthOf(desk) === "healthy");
  await until("nobody is connected", () => {
    const { transports } = desk.statistics.snapshot(Date.now());
    return transports.every(({ connections }) => connections === 0);
  });
  await desk.close();
  await Deno.remove(parent, { recursive: true });
});

Deno.test("faults: nothing is served after the bay has closed, nor left of one that never served", async () => {
  const proto = parseProto(`syntax = "proto3"; package t; message M { int32 n = 1; }
    service S { rpc Do(M) returns (M); }`);
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${folder}/run` });
  for (const early of [true, false]) {
    const arm = await Patchbay.open({
      module: "arm",
      plugins: [grpc],
      directory: (identity) => HostDirectory.open(identity, { path }),
    });
    const extras = arm.transport(grpc);
    if (early) await arm.serve("arm/echo", (value) => value);
    await arm.close();
    const error = await extras.serveService({ proto, handlers: {} })
      .then(() => assert.fail("it is closed"), (e) => e);
    assert.equal(error.code, "closed");
    assert.throws(() => Deno.lstatSync(`${path}/arm.grpc.sock`), Deno.errors.NotFound);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("faults: a deadline of a month is one that does not come", async () => {
  const arm = await openBay("arm", { listen: { port: 0 } });
  await arm.serve("arm/echo", async (value) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return value;
  });
  const desk = await openBay("desk", { peers: [arm.transport(grpc).url] });
  assert.equal(await desk.call("arm/echo", 1, { timeoutMs: 30 * 86_400_000 }), 1);
  await desk.close();
  await arm.close();
});

Deno.test("faults: headers that are too large are refused before they cost others their calls", async () => {
  const arm = await openBay("arm", { listen: { port: 0 } });
  const begun = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  await arm.serve("arm/slow", async (value) => {
    begun.resolve();
    await go.promise;
    return value;
  });
  await arm.serve("arm/length", (_, { headers }) => headers.x.length);
  await arm.perform("arm/work", (n) => n);
  const desk = await openBay("desk", { peers: [arm.transport(grpc).url] });
  const slow = desk.call("arm/slow", 1, { timeoutMs: 30_000 });
  await begun.promise;
  assert.equal(await desk.call("arm/length", 0, { headers: { x: "a".repeat(60_000) } }), 60_000);
  for (const x of ["a".repeat(200_000), "é".repeat(30_000)]) {
    const refusals = [
      () => desk.call("arm/length", 0, { headers: { x } }),
      () => desk.execute("arm/work", 0, { headers: { x } }).then((job) => job.result),
    ];
    for (const refusal of refusals) {
      const error = await refusal().then(() => assert.fail("it is too large"), (e) => e);
      assert.equal(error.code, "too_large", error.message);
      assert.equal(error.details.max, 65_536);
    }
  }
  go.resolve();
  assert.equal(await slow, 1);
  await desk.close();
  await arm.close();
});

Deno.test("grpc: whatever goes to one place goes over one connection", async () => {
  await using arm = await openBay("arm", { listen: { port: 0 } });
  await arm.serve("arm/echo", (value) => value);
  await arm.serve("arm/other", () => 1);
  await using _tick = await arm.speaker("arm/tick");
  await arm.perform("arm/work", (n) => n);
  await using desk = await openBay("desk", { peers: [arm.transport(grpc).url] });
  await Promise.all([1, 2, 3].map((n) => desk.call("arm/echo", n)));
  assert.equal(await desk.call("arm/other", 0), 1);
  await desk.listen("arm/*", () => {});
  assert.equal(await (await desk.execute("arm/work", 5)).result, 5);
  for (const bay of [arm, desk]) {
    const { transports } = bay.statistics.snapshot(Date.now());
    assert.equal(transports.find(({ name }) => name === "grpc")?.connections, 1);
  }
});

const node = await requireOrIgnore("node", async () => {
  return (await new Deno.Command("node", { args: ["--version"] }).output()).success;
}, "install Node 20 or later");

Deno.test({
  name: node.name("foreign: grpc-js on plain Node calls, listens to and runs what a bay serves"),
  ignore: node.ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    const arm = await openBay("arm", { listen: { path: `${folder}/arm.sock` } });
    await arm.serve("arm/echo", (value) => value);
    const tick = await arm.speaker<{ n: number }>("arm/tick");
    await arm.perform("arm/work", async function* (goal: number) {
      yield "half";
      return await Promise.resolve(goal * 2);
    });
    {
      await using peer = await NodePeer.start(await modulesForNode(folder));
      const target = arm.transport(grpc).url;
      assert.equal(
        (await peer.ask("call", { target, address: "arm/echo", json: '{"x":1}', times: 3 })).json,
        '{"x":1}',
      );
      assert.equal((await peer.ask("fails", { target, address: "arm/nobody" })).code, 5);
      await peer.tell("listen", { target, pattern: "arm/*", count: 2 });
      assert.deepEqual(await peer.next(), { listening: true });
      tick.shout({ n: 1 });
      tick.shout({ n: 2 });
      assert.deepEqual((await peer.next()).events, [
        { address: "arm/tick", json: '{"n":1}' },
        { address: "arm/tick", json: '{"n":2}' },
      ]);
      const job = await peer.ask("execute", { target, address: "arm/work", json: "21" });
      assert.deepEqual(job.steps, ["accepted", "feedback", "result"]);
    }
    await arm.close();
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name: node.name("foreign: a bay calls, listens to and runs what grpc-js on plain Node serves"),
  ignore: node.ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    {
      await using peer = await NodePeer.start(await modulesForNode(folder));
      const { port } = await peer.ask("serve", { target: "127.0.0.1:0" });
      await using desk = await openBay("desk", { peers: [`grpc://127.0.0.1:${port}`] });
      assert.deepEqual(await desk.call("node/echo", { x: [1, "é"] }), { x: [1, "é"] });
      const error = await desk.call("node/fail", 1).then(() => assert.fail(), (e) => e);
      assert.equal(error.code, "remote");
      assert.match(error.message, /gripper is open/);
      assert.equal(error.details?.grpcStatus, "FAILED_PRECONDITION");
      const heard: number[] = [];
      const all = Promise.withResolvers<void>();
      await desk.listen<number>("node/count", (n) => {
        heard.push(n);
        if (heard.length === 3) all.resolve();
      });
      await all.promise;
      assert.deepEqual(heard, [1, 2, 3]);
      const job = await desk.execute<number, number, string>("node/work", 9);
      const feedback: unknown[] = [];
      for await (const one of job.feedback) feedback.push(one);
      assert.deepEqual([feedback, await job.result], [["half"], 9]);
    }
    await Deno.remove(folder, { recursive: true });
  },
});
