import assert from "node:assert/strict";
import { type Bay, PatchbayError } from "@patchbay/core";
import { HostDirectory, open, openRuntimeDir } from "@patchbay/host";
import { Backend } from "../../examples/grpc/backend.ts";
import { moveOnce } from "../../examples/grpc/frontend.ts";
import type { Arm, Point } from "../../examples/grpc/arm_proto.ts";
import grpc, { loadProto, type MethodContext, parseProto, ServiceClient } from "./mod.ts";
import { generated } from "./proto_task.ts";

const PROTO = new URL("../../examples/grpc/arm.proto", import.meta.url);

/** A bay with a runtime directory of its own. */
async function place(config: Record<string, unknown> = {}): Promise<
  { bay: Bay<[typeof grpc]>; path: string } & AsyncDisposable
> {
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  const path = openRuntimeDir({ path: `${parent}/run` });
  const { bay } = await openBay("arm", path, config);
  return {
    bay,
    path,
    async [Symbol.asyncDispose]() {
      await bay.close();
      await Deno.remove(parent, { recursive: true });
    },
  };
}

async function openBay(module: string, path: string, config: Record<string, unknown>) {
  void HostDirectory;
  const bay = await open({
    module,
    plugins: [grpc],
    discover: false,
    runtimeDirectory: path,
    config: { grpc: config },
  } as never) as unknown as Bay<[typeof grpc]>;
  return { bay };
}

async function refused(promise: Promise<unknown>, code: string, message: RegExp) {
  const error = await promise.then(() => assert.fail("it should fail"), (e) => e);
  assert.ok(error instanceof PatchbayError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return error;
}

Deno.test("service: the example's frontend and backend, over the module's socket", async () => {
  await using there = await place();
  const { bay, path } = there;
  await bay.transport(grpc).serveService({ proto: PROTO, handlers: new Backend() });
  assert.equal(bay.transport(grpc).url, `unix:${path}/arm.grpc.sock`);
  assert.deepEqual(await moveOnce({ module: "arm", runtimeDirectory: path }), [
    "session 1: shoulder, elbow, wrist",
    "25 %: x = 0.5",
    "50 %: x = 1",
    "75 %: x = 1.5",
    "100 %: x = 2",
    "elbow: 2, 3",
  ]);
  await bay.close();
  assert.throws(() => Deno.lstatSync(`${path}/arm.grpc.sock`), Deno.errors.NotFound);
});

Deno.test("service: client streams, streams both ways, metadata, an error with a status chosen", async () => {
  await using there = await place();
  const { bay } = there;
  const contexts: MethodContext[] = [];
  const backend = new Backend();
  await bay.transport(grpc).serveService({
    proto: PROTO,
    handlers: {
      Correct: backend.Correct,
      Follow: backend.Follow,
      GetData: (_: unknown, context: MethodContext) => {
        contexts.push(context);
        throw new PatchbayError("remote", "the gripper is open", {
          details: { grpcStatus: "FAILED_PRECONDITION" },
        });
      },
    },
  });
  const target = bay.transport(grpc).url;
  await using arm = await ServiceClient.connect<Arm>({ proto: PROTO, target });
  assert.deepEqual(await arm.callMethod("Correct", [{ by: 1 }, { by: 2.5 }]), { sum: 3.5 });
  const points: Point[] = [];
  async function* path() {
    for (const x of [0, 1, 2]) yield await Promise.resolve({ x });
  }
  for await (const point of arm.streamMethod("Follow", path())) points.push(point);
  assert.deepEqual(points.map(({ x }) => x), [0, 1, 1]);
  const headers = { "x-run": "7", "x-name": "Łódź" };
  await refused(arm.callMethod("GetData", {}, { headers }), "remote", /gripper is open/);
  assert.deepEqual(contexts[0].headers, headers);
  assert.equal(contexts[0].peer.local, true);
  assert.ok(contexts[0].remainingMs > 0 && contexts[0].remainingMs <= 5000);
  // A method without a handler.
  await refused(arm.callMethod("Initialize", {}), "not_found", /Initialize/);
});

Deno.test("service: a wrong message is named by its path, on both sides, before it is sent", async () => {
  await using there = await place();
  const { bay } = there;
  let answer: unknown = {};
  await bay.transport(grpc).serveService({
    proto: PROTO,
    handlers: { GetData: () => answer, Initialize: () => ({ session: 2n ** 63n - 1n }) },
  });
  await using arm = await ServiceClient.connect({ proto: PROTO, target: bay.transport(grpc).url });
  const call = (name: string, request: unknown) => arm.callMethod(name, request);
  await refused(call("GetData", { nmaes: [] }), "invalid", /request\.nmaes.*did you mean names/);
  await refused(call("GetData", { names: ["a", 1] }), "invalid", /request\.names\[1\]: .*string/);
  await refused(call("GetData", { samples: -1 }), "invalid", /request\.samples: .*0 to 4294967295/);
  await refused(call("Initialize", { settings: { a: 1 } }), "invalid", /request\.settings\.a/);
  await refused(call("Initialise", {}), "not_found", /no method Initialise/);
  answer = { data: { elbow: { values: "no list" } } };
  await refused(call("GetData", {}), "invalid", /response\.data\.elbow\.values: must be a list/);
  assert.deepEqual(await call("Initialize", undefined), {
    session: "9223372036854775807",
    joints: [],
  });
  const { bay: other } = there;
  assert.throws(() => loadProto("/nowhere.proto"), { code: "not_found" });
  assert.throws(() => parseProto("message {"), { code: "invalid" });
  await refused(
    other.transport(grpc).serveService({ proto: PROTO, handlers: { Nothing: () => 1 } }),
    "invalid",
    /no method Nothing/,
  );
  await refused(
    other.transport(grpc).serveService({ proto: PROTO, handlers: { GetData: () => 1 } }),
    "unavailable",
    /served already/,
  );
});

Deno.test("service: a caller that gives up aborts its handler; leaving a loop does, too", async () => {
  await using there = await place();
  const { bay } = there;
  const begun = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  await bay.transport(grpc).serveService({
    proto: PROTO,
    handlers: {
      GetData: (_: unknown, { signal }: MethodContext) =>
        new Promise((_, reject) => {
          begun.resolve();
          signal.addEventListener("abort", () => {
            aborted.resolve();
            reject(signal.reason);
          });
        }),
      async *ExecuteCommand(_: unknown, { signal }: MethodContext) {
        signal.addEventListener("abort", () => left.resolve());
        for (;;) {
          yield { done: 0.5 };
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
    },
  });
  await using arm = await ServiceClient.connect<Arm>({
    proto: PROTO,
    target: bay.transport(grpc).url,
  });
  const control = new AbortController();
  const call = arm.callMethod("GetData", {}, { signal: control.signal });
  await begun.promise;
  control.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  await aborted.promise;
  for await (const { done } of arm.streamMethod("ExecuteCommand", {})) {
    assert.equal(done, 0.5);
    break;
  }
  await left.promise;
  const late = arm.callMethod("GetData", {}, { timeoutMs: 50 });
  await refused(late, "deadline_exceeded", /./);
});

Deno.test("service: nobody there is unavailable with address, reason and remedy, within the timeout", async () => {
  const connect = ServiceClient.connect({
    proto: PROTO,
    target: "unix:/nowhere/arm.grpc.sock",
    timeoutMs: 300,
  });
  const error = await refused(connect, "unavailable", /unix:\/nowhere\/arm\.grpc\.sock.*ENOENT/);
  assert.match(error.remedy ?? "", /start what listens there/);
  assert.equal(error.transport, "grpc");
});

Deno.test("service: calls go round several servers, on Unix sockets and TCP, and past a dead one", async () => {
  await using first = await place();
  await using second = await place();
  await using third = await place({ listen: { port: 0 } });
  const bays = [first.bay, second.bay, third.bay];
  const targets: string[] = [];
  for (const [index, bay] of bays.entries()) {
    const handlers = { Correct: () => ({ sum: index }) };
    await bay.transport(grpc).serveService({ proto: PROTO, handlers });
    targets.push(bay.transport(grpc).url);
  }
  await using arm = await ServiceClient.connect<Arm>({ proto: PROTO, target: targets });
  const seen = async (): Promise<Set<number>> => {
    const sums = new Set<number>();
    for (let i = 0; i < 12; i++) sums.add((await arm.callMethod("Correct", [])).sum);
    return sums;
  };
  // Each connection takes its moment.
  const all = AbortSignal.timeout(10_000);
  while ((await seen()).size < 3) all.throwIfAborted();
  await second.bay.close();
  while ((await seen().catch(() => new Set())).size !== 2) all.throwIfAborted();
  assert.deepEqual(await seen(), new Set([0, 2]));
});

Deno.test("service: ten calls run at once by default, the others wait their turn", async () => {
  await using there = await place({ maxWaitingCalls: 5 });
  const { bay } = there;
  const gate = Promise.withResolvers<void>();
  const ten = Promise.withResolvers<void>();
  let running = 0;
  let most = 0;
  await bay.transport(grpc).serveService({
    proto: PROTO,
    handlers: {
      GetData: async () => {
        most = Math.max(most, ++running);
        if (running === 10) ten.resolve();
        await gate.promise;
        running--;
        return {};
      },
    },
  });
  await using arm = await ServiceClient.connect<Arm>({
    proto: PROTO,
    target: bay.transport(grpc).url,
  });
  const calls = Array.from({ length: 16 }, () => arm.callMethod("GetData", {}));
  await ten.promise;
  // Ten run and five wait: the sixteenth is refused.
  const outcomes = Promise.allSettled(calls);
  await Promise.race(calls).catch((error) => assert.equal(error.code, "overloaded"));
  gate.resolve();
  const settled = await outcomes;
  assert.equal(settled.filter(({ status }) => status === "rejected").length, 1);
  assert.equal(most, 10);
});

Deno.test("service: the types are those of the .proto", async () => {
  const path = decodeURIComponent(PROTO.pathname);
  const format = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--ext", "ts", "--line-width", "100", "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = format.stdin.getWriter();
  await writer.write(new TextEncoder().encode(generated(path)));
  await writer.close();
  const { stdout } = await format.output();
  const file = await Deno.readTextFile(
    new URL("../../examples/grpc/arm_proto.ts", import.meta.url),
  );
  assert.equal(new TextDecoder().decode(stdout), file, "run deno task proto on it");
});

Deno.test("service: whoever makes the requests of a stream is told when no more are wanted", async () => {
  await using there = await place();
  const proto = parseProto(`syntax = "proto3"; package t; message M { int32 n = 1; }
    service S { rpc Both(stream M) returns (stream M); rpc First(stream M) returns (M); }`);
  await there.bay.transport(grpc).serveService({
    proto,
    handlers: {
      async *Both(requests: AsyncIterable<{ n: number }>) {
        yield* requests;
      },
      async First(requests: AsyncIterable<{ n: number }>) {
        for await (const one of requests) return one;
      },
    },
  });
  const target = there.bay.transport(grpc).url;
  await using client = await ServiceClient.connect({ proto, target });
  /** One request, and nothing more. */
  const asker = () => {
    const returned = Promise.withResolvers<void>();
    let asked = 0;
    const requests = {
      [Symbol.asyncIterator]: () => requests,
      next: () =>
        asked++ === 0 ? Promise.resolve({ value: { n: 1 } }) : new Promise<never>(() => {}),
      return() {
        returned.resolve();
        return Promise.resolve({ value: undefined, done: true as const });
      },
    };
    return { requests, returned: returned.promise };
  };
  const left = asker();
  for await (const one of client.streamMethod("Both", left.requests)) {
    assert.deepEqual(one, { n: 1 });
    break;
  }
  await left.returned;
  const answered = asker();
  assert.deepEqual(await client.callMethod("First", answered.requests), { n: 1 });
  await answered.returned;
  const aborted = asker();
  const signal = AbortSignal.timeout(50);
  const both = client.streamMethod("Both", aborted.requests, { signal });
  await assert.rejects(Array.fromAsync(both), { name: "TimeoutError" });
  await aborted.returned;
  await refused(client.callMethod("First", { n: 1 }), "invalid", /takes a stream/);
});

Deno.test("service: the signal of a call that was answered says nothing of a caller who has gone", async () => {
  await using there = await place();
  const proto = parseProto(`syntax = "proto3"; package t; message M { int32 n = 1; }
    service S { rpc One(M) returns (M); rpc Many(M) returns (stream M); rpc Sum(stream M) returns (M);
      rpc Fail(M) returns (M); }`);
  const signals: AbortSignal[] = [];
  await there.bay.transport(grpc).serveService({
    proto,
    handlers: {
      One(_: unknown, { signal }: MethodContext) {
        signals.push(signal);
        return {};
      },
      async *Many(_: unknown, { signal }: MethodContext) {
        signals.push(signal);
        yield await Promise.resolve({});
      },
      async Sum(requests: AsyncIterable<unknown>, { signal }: MethodContext) {
        signals.push(signal);
        return { n: (await Array.fromAsync(requests)).length };
      },
      Fail(_: unknown, { signal }: MethodContext) {
        signals.push(signal);
        throw new Error("no");
      },
    },
  });
  const target = there.bay.transport(grpc).url;
  await using client = await ServiceClient.connect({ proto, target });
  for (let round = 0; round < 3; round++) {
    await client.callMethod("One", {});
    for await (const _ of client.streamMethod("Many", {}));
    assert.deepEqual(await client.callMethod("Sum", [{}, {}]), { n: 2 });
    await refused(client.callMethod("Fail", {}), "remote", /no/);
  }
  assert.equal(signals.length, 12);
  // Those of the last round may still be at their end.
  assert.deepEqual(signals.slice(0, 8).filter(({ aborted }) => aborted), []);
});
