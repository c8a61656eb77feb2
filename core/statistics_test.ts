import assert from "node:assert/strict";
import fc from "fast-check";
import type { ErrorCode } from "./errors.ts";
import {
  type EndpointSnapshot,
  EndpointStatistics,
  OTHERS,
  REMOVED,
  Statistics,
  TransportStatistics,
} from "./statistics.ts";

const newEndpoint = () => new EndpointStatistics("callable", "client", "math/add", "uds");

function total(
  endpoints: EndpointSnapshot[],
  read: (endpoint: EndpointSnapshot) => number,
): number {
  return endpoints.reduce((sum, endpoint) => sum + read(endpoint), 0);
}

Deno.test("sample: the first call and then one in 64", () => {
  const endpoint = newEndpoint();
  const sampled = Array.from({ length: 200 }, () => endpoint.sample());
  assert.deepEqual(sampled.flatMap((yes, i) => yes ? [i] : []), [0, 64, 128, 192]);
});

Deno.test("endpoint: a fresh snapshot is zeros, without histograms, and survives JSON", () => {
  const snapshot = newEndpoint().snapshot();
  assert.deepEqual(snapshot, {
    pattern: "callable",
    role: "client",
    address: "math/add",
    transport: "uds",
    messagesIn: 0,
    messagesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    calls: 0,
    pending: 0,
    feedback: 0,
    errors: {},
    drops: {},
    lastActivityMs: null,
  });
  assert.deepEqual(JSON.parse(JSON.stringify(snapshot)), snapshot);
});

Deno.test("endpoint: errors, drops, durations and sizes are in the snapshot, with quantiles", () => {
  const endpoint = newEndpoint();
  endpoint.countError("closed");
  endpoint.countError("closed");
  endpoint.countDrop("ttl", 3);
  endpoint.countDrop("a plugin's own reason");
  for (let i = 1; i <= 100; i++) {
    endpoint.observeDuration(i / 1e6);
    endpoint.observeSize(i);
  }
  const { errors, drops, durations, sizes } = JSON.parse(JSON.stringify(endpoint.snapshot()));
  assert.deepEqual(errors, { closed: 2 });
  assert.deepEqual(drops, { ttl: 3, "a plugin's own reason": 1 });
  assert.equal(durations.count, 100);
  assert.equal(sizes.sum, 5050);
  assert.ok(Math.abs(durations.p50 - 50e-6) <= 50e-6 * 0.125);
  assert.ok(Math.abs(sizes.p99 - 99) <= 99 * 0.125);
});

Deno.test("transport: a snapshot holds every counter", () => {
  const transport = new TransportStatistics("redis");
  transport.reconnections = 2;
  transport.health = "degraded";
  transport.countError("unavailable");
  transport.countDrop("undecodable", 4);
  assert.deepEqual(transport.snapshot(), {
    name: "redis",
    messagesIn: 0,
    messagesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    errors: { unavailable: 1 },
    drops: { undecodable: 4 },
    reconnections: 2,
    retries: 0,
    connections: 0,
    health: "degraded",
  });
});

Deno.test("statistics: the same four are the same endpoint, any other is another", () => {
  const statistics = new Statistics();
  const endpoint = statistics.endpoint("job", "client", "arm/move", "uds");
  assert.equal(statistics.endpoint("job", "client", "arm/move", "uds"), endpoint);
  assert.notEqual(statistics.endpoint("callable", "client", "arm/move", "uds"), endpoint);
  assert.notEqual(statistics.endpoint("job", "server", "arm/move", "uds"), endpoint);
  assert.notEqual(statistics.endpoint("job", "client", "arm/stop", "uds"), endpoint);
  assert.notEqual(statistics.endpoint("job", "client", "arm/move", "redis"), endpoint);
  assert.equal(statistics.transport("uds"), statistics.transport("uds"));
  assert.equal(statistics.snapshot(0).transports.length, 1);
});

Deno.test("statistics: an endpoint is removed when everyone who asked for it gave it back", () => {
  const statistics = new Statistics();
  const endpoint = statistics.endpoint("callable", "client", "math/add", "uds");
  statistics.endpoint("callable", "client", "math/add", "uds");
  endpoint.calls = 5;
  statistics.remove(endpoint);
  assert.deepEqual(statistics.snapshot(0).endpoints.map((e) => e.address), ["math/add"]);
  endpoint.pending = 1;
  statistics.remove(endpoint);
  statistics.remove(endpoint);
  const { endpoints } = statistics.snapshot(0);
  assert.deepEqual(endpoints.map((e) => [e.address, e.calls, e.pending]), [[REMOVED, 5, 0]]);
  assert.notEqual(statistics.endpoint("callable", "client", "math/add", "uds"), endpoint);
});

Deno.test("statistics: what is removed goes on counting in the total, histograms included", () => {
  const statistics = new Statistics();
  for (const address of ["a/b", "c/d"]) {
    const endpoint = statistics.endpoint("callable", "server", address, "uds");
    endpoint.messagesIn = 2;
    endpoint.bytesOut = 10;
    endpoint.countError("remote");
    endpoint.countDrop("invalid");
    endpoint.observeDuration(0.001);
    endpoint.observeSize(100);
    statistics.observe(address === "a/b" ? 500 : 400);
    statistics.remove(endpoint);
  }
  const [removed, ...more] = statistics.snapshot(900).endpoints;
  assert.deepEqual(more, []);
  assert.equal(removed.address, REMOVED);
  assert.equal(removed.messagesIn, 4);
  assert.equal(removed.bytesOut, 20);
  assert.deepEqual(removed.errors, { remote: 2 });
  assert.deepEqual(removed.drops, { invalid: 2 });
  assert.equal(removed.durations?.count, 2);
  assert.equal(removed.sizes?.sum, 200);
  assert.equal(removed.lastActivityMs, 500);
});

Deno.test("statistics: beyond the limit endpoints share one, and none is lost", () => {
  const statistics = new Statistics({ maxEndpoints: 2 });
  const open = Array.from(
    { length: 5 },
    (_, i) => statistics.endpoint("callable", "client", `m/e${i}`, "uds"),
  );
  open.forEach((endpoint) => endpoint.calls++);
  const { endpoints } = statistics.snapshot(7);
  assert.deepEqual(endpoints.map((e) => [e.address, e.calls, e.lastActivityMs]), [
    ["m/e0", 1, 7],
    ["m/e1", 1, 7],
    [OTHERS, 3, 7],
  ]);
  open.forEach((endpoint) => statistics.remove(endpoint));
  assert.equal(statistics.endpoint("callable", "client", "m/e9", "uds").address, "m/e9");
  assert.equal(total(statistics.snapshot(8).endpoints, (e) => e.calls), 5);
});

Deno.test("statistics: whatever is opened, counted and removed, the sums never go backwards", () => {
  const step = fc.record({
    at: fc.nat(5),
    errors: fc.constantFrom<ErrorCode | undefined>(undefined, "closed", "remote"),
    duration: fc.double({ min: 0, max: 100, noNaN: true }),
    remove: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), fc.nat(4), (steps, maxEndpoints) => {
    const statistics = new Statistics({ maxEndpoints });
    let [calls, samples, errors] = [0, 0, 0];
    for (const step of steps) {
      const endpoint = statistics.endpoint("callable", "client", `m/e${step.at}`, "uds");
      endpoint.calls++;
      endpoint.observeDuration(step.duration);
      if (step.errors !== undefined) endpoint.countError(step.errors);
      if (step.remove) statistics.remove(endpoint);
      calls++;
      samples++;
      if (step.errors !== undefined) errors++;
      const { endpoints } = statistics.snapshot(0);
      assert.equal(total(endpoints, (e) => e.calls), calls);
      assert.equal(total(endpoints, (e) => e.durations?.count ?? 0), samples);
      assert.equal(
        total(endpoints, (e) => (e.errors.closed ?? 0) + (e.errors.remote ?? 0)),
        errors,
      );
      assert.ok(endpoints.length <= maxEndpoints + 2);
    }
  }));
});

Deno.test("statistics: an endpoint that changed its transport is not listed beside its twin", () => {
  const statistics = new Statistics();
  const moved = statistics.endpoint("callable", "client", "math/add", "redis");
  statistics.endpoint("callable", "client", "math/add", "uds").calls = 2;
  moved.transport = "uds";
  moved.calls = 3;
  const { endpoints } = statistics.snapshot(0);
  assert.deepEqual(endpoints.map((e) => [e.transport, e.calls]), [["uds", 5]]);
  statistics.remove(moved);
  assert.deepEqual(
    statistics.snapshot(0).endpoints.map((e) => [e.address, e.transport, e.calls]),
    [["math/add", "uds", 2], [REMOVED, "uds", 3]],
  );
});

Deno.test("activity: a look notes the time only where a counter moved", () => {
  const statistics = new Statistics();
  const busy = statistics.endpoint("callable", "server", "a/busy", "uds");
  statistics.endpoint("callable", "server", "a/idle", "uds");
  const activity = (nowMs: number) =>
    Object.fromEntries(
      statistics.snapshot(nowMs).endpoints.map((e) => [e.address, e.lastActivityMs]),
    );
  assert.deepEqual(activity(10), { "a/busy": null, "a/idle": null });
  busy.messagesIn++;
  statistics.observe(20);
  assert.deepEqual(activity(30), { "a/busy": 20, "a/idle": null });
  for (
    const move of [
      () => busy.messagesOut++,
      () => busy.calls++,
      () => busy.feedback++,
      () => busy.countError("invalid"),
      () => busy.countDrop("ttl"),
    ]
  ) {
    const nowMs = (busy.lastActivityMs ?? 0) + 100;
    move();
    assert.equal(activity(nowMs)["a/busy"], nowMs);
    assert.equal(activity(nowMs + 1)["a/busy"], nowMs);
  }
});
