import assert from "node:assert/strict";
import { TimerEntry, TimerWheel, toleranceMs } from "./timer_wheel.ts";

/** Remembers when it expired, and whether it was discarded. */
class Probe extends TimerEntry {
  readonly expired: Promise<number>;
  expirations = 0;
  discards = 0;
  readonly #resolve: (atMs: number) => void;
  readonly #also: (() => void) | undefined;

  constructor(also?: () => void) {
    super();
    const { promise, resolve } = Promise.withResolvers<number>();
    this.expired = promise;
    this.#resolve = resolve;
    this.#also = also;
  }

  override expire(): void {
    this.expirations++;
    this.#resolve(performance.now());
    this.#also?.();
  }

  override discard(): void {
    this.discards++;
  }
}

Deno.test("timer wheel: an entry never fires early, whatever its delay", async () => {
  const wheel = new TimerWheel();
  const delays = [0, 1, 2, 3, 5, 8, 10, 17, 33, 50, 90, 120, 200];
  const startedMs = performance.now();
  const probes = delays.map((delay) => {
    const probe = new Probe();
    wheel.arm(probe, delay);
    return probe;
  });
  for (const [i, probe] of probes.entries()) {
    const tookMs = await probe.expired - startedMs;
    assert.ok(tookMs >= delays[i], `armed for ${delays[i]} ms, fired after ${tookMs} ms`);
    assert.equal(probe.expirations, 1);
  }
  wheel.close();
});

Deno.test("timer wheel: shorter delays fire before longer ones, in whatever order armed", async () => {
  const wheel = new TimerWheel();
  const order: number[] = [];
  const delays = [160, 20, 80, 40];
  const probes = delays.map((delay) => {
    const probe = new Probe(() => order.push(delay));
    wheel.arm(probe, delay);
    return probe;
  });
  await Promise.all(probes.map((probe) => probe.expired));
  assert.deepEqual(order, [20, 40, 80, 160]);
  wheel.close();
});

Deno.test("timer wheel: a short delay armed after a long one does not wait for it", async () => {
  const wheel = new TimerWheel();
  const long = new Probe();
  const short = new Probe();
  wheel.arm(long, 60_000);
  wheel.arm(short, 5);
  await short.expired;
  assert.equal(long.expirations, 0);
  // The long one is stamped by now; one armed behind it must still be in time.
  const later = new Probe();
  wheel.arm(later, 5);
  await later.expired;
  assert.equal(long.expirations, 0);
  wheel.close();
});

Deno.test("timer wheel: disarmed entries never fire, fresh or stamped, and twice is harmless", async () => {
  const wheel = new TimerWheel();
  const [fresh, stamped, clock] = [new Probe(), new Probe(), new Probe()];
  wheel.arm(stamped, 30);
  wheel.arm(fresh, 30);
  wheel.disarm(fresh);
  wheel.disarm(fresh);
  const first = new Probe();
  wheel.arm(first, 10);
  await first.expired;
  wheel.disarm(stamped);
  wheel.disarm(stamped);
  wheel.arm(clock, 60);
  await clock.expired;
  assert.deepEqual([fresh.expirations, stamped.expirations], [0, 0]);
  wheel.close();
});

Deno.test("timer wheel: arming anew forgets the old deadline", async () => {
  const wheel = new TimerWheel();
  const probe = new Probe();
  const startedMs = performance.now();
  wheel.arm(probe, 15);
  wheel.arm(probe, 80);
  const tookMs = await probe.expired - startedMs;
  assert.ok(tookMs >= 80, `fired after ${tookMs} ms`);
  assert.equal(probe.expirations, 1);
  wheel.close();
});

Deno.test("timer wheel: an entry may arm itself again from expire()", async () => {
  const wheel = new TimerWheel();
  let left = 3;
  const { promise, resolve } = Promise.withResolvers<void>();
  const probe: Probe = new Probe(() => --left > 0 ? wheel.arm(probe, 5) : resolve());
  wheel.arm(probe, 5);
  await promise;
  assert.equal(probe.expirations, 3);
  wheel.close();
});

Deno.test("timer wheel: entries that expire together may disarm one another", async () => {
  const wheel = new TimerWheel();
  const probes: Probe[] = [];
  const others = (self: number) => probes.forEach((p, i) => i === self || wheel.disarm(p));
  for (let i = 0; i < 4; i++) probes.push(new Probe(() => others(i)));
  for (const probe of probes) wheel.arm(probe, 10);
  await Promise.race(probes.map((probe) => probe.expired));
  const clock = new Probe();
  wheel.arm(clock, 20);
  await clock.expired;
  assert.equal(probes.reduce((sum, probe) => sum + probe.expirations, 0), 1);
  wheel.close();
});

Deno.test("timer wheel: without a deadline an entry waits for close, and is told", () => {
  const wheel = new TimerWheel();
  const [eternal, armed, fresh] = [new Probe(), new Probe(), new Probe()];
  wheel.arm(eternal, Infinity);
  assert.equal(wheel.running, false);
  wheel.arm(armed, 1000);
  wheel.arm(fresh, 1000);
  wheel.disarm(fresh);
  wheel.close();
  assert.deepEqual([eternal.discards, armed.discards, fresh.discards], [1, 1, 0]);
  wheel.close();
  assert.equal(eternal.discards, 1);
  const late = new Probe();
  wheel.arm(late, 1);
  assert.equal(wheel.running, false, "a closed wheel arms nothing");
});

Deno.test("timer wheel: remaining time falls, and is infinite when not armed", async () => {
  const wheel = new TimerWheel();
  const probe = new Probe();
  assert.equal(wheel.remainingMs(probe), Infinity);
  wheel.arm(probe, 500);
  assert.equal(wheel.remainingMs(probe), 500, "before the first tick it is the whole delay");
  const tick = new Probe();
  wheel.arm(tick, 30);
  await tick.expired;
  const left = wheel.remainingMs(probe);
  assert.ok(left > 0 && left <= 500, `${left} ms`);
  wheel.disarm(probe);
  assert.equal(wheel.remainingMs(probe), Infinity);
  wheel.close();
});

Deno.test("timer wheel: with nothing armed no timer keeps the process alive", async () => {
  const wheel = new TimerWheel();
  assert.equal(wheel.running, false);
  // One entry that has been stamped, then disarmed: its far deadline must not keep a timer.
  const far = new Probe();
  const tick = new Probe();
  wheel.arm(far, 60_000);
  wheel.arm(tick, 5);
  await tick.expired;
  wheel.disarm(far);
  assert.equal(wheel.running, false);
  wheel.close();
});

Deno.test("timer wheel: a hundred thousand entries come and go", async () => {
  const wheel = new TimerWheel();
  const probes = Array.from({ length: 100_000 }, () => new Probe());
  for (const probe of probes) wheel.arm(probe, 50);
  for (let i = 0; i < probes.length; i += 2) wheel.disarm(probes[i]);
  await probes[1].expired;
  await probes[99_999].expired;
  assert.equal(probes.reduce((sum, probe) => sum + probe.expirations, 0), 50_000);
  wheel.close();
});

Deno.test("timer wheel: tolerance is 4 ms, or 5 % of the delay", () => {
  assert.equal(toleranceMs(10), 4);
  assert.equal(toleranceMs(80), 4);
  assert.equal(toleranceMs(1000), 50);
});
