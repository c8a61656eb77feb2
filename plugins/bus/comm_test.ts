import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import { ALL_FRAMES, BusComm, type Comm, MockComm, Priority, type ReceivedFrame } from "./mod.ts";
import { FrameSet, type FrameValue } from "./frames/mod.ts";
import { createBus } from "./plugin.ts";
import {
  ButtonState,
  Display8x8Character,
  Distance,
  frames,
  FrameType,
  Ping,
} from "./testdata/frames.ts";

/** A comm under test, and somebody else on the same bus. */
interface Pair extends AsyncDisposable {
  readonly comm: Comm;
  /** What others send; resolves when the comm must have it. */
  others(...sent: (FrameValue | typeof ButtonState)[]): Promise<void>;
  /** The next frame that the comm sends, of these types. */
  heard(
    types: number[],
  ): Promise<() => Promise<{ type: number; value: FrameValue | undefined; priority: number }>>;
}

const bus = createBus();
const manager = (port = 0) =>
  open({
    module: "manager",
    plugins: [bus] as const,
    config: { bus: { listen: { port } } },
  });

async function overBus(): Promise<Pair> {
  const hub = await manager();
  const [url] = hub.transport(bus).where;
  const comm = await BusComm.open({ module: "tested", frames, url });
  const other = await BusComm.open({ module: "other", frames, url });
  return {
    comm,
    async others(...sent) {
      for (const each of sent) {
        if (typeof each === "function") await other.request(each);
        else await other.send(each);
      }
      // In one lane frames keep their order, so when the last has come, all have.
      const [ping] = [new Ping()];
      const seen = comm.ask(Ping, { timeoutMs: 5000 });
      while (!(await raced(seen))) await other.send(ping);
    },
    async heard(types) {
      await other.listenFor(types);
      const frames = other[Symbol.asyncIterator]();
      return async () => {
        const { value: frame } = await frames.next() as { value: ReceivedFrame };
        return {
          type: frame.type,
          value: frame.request ? undefined : frame.value,
          priority: frame.origin.priority,
        };
      };
    },
    async [Symbol.asyncDispose]() {
      await comm.stop();
      await other.stop();
      await hub.close();
    },
  };
}

/** Whether a promise has resolved, a moment later. */
async function raced(promise: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout>;
  const later = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), 20));
  const done = await Promise.race([promise.then(() => true), later]);
  clearTimeout(timer!);
  return done;
}

function mocked(): Promise<Pair> {
  const comm = new MockComm({ frames });
  return Promise.resolve({
    comm,
    others(...sent) {
      for (const each of sent) comm.receive(each);
      return Promise.resolve();
    },
    heard(types) {
      let at = comm.sent.length;
      return Promise.resolve(() => {
        while (!types.includes(comm.sent[at].type)) at++;
        return Promise.resolve(comm.sent[at++]);
      });
    },
    [Symbol.asyncDispose]: () => comm.stop(),
  });
}

for (const [name, make] of [["MockComm", mocked], ["BusComm", overBus]] as const) {
  const test = (title: string, body: (pair: Pair) => Promise<void>) =>
    Deno.test(`${name}: ${title}`, async () => {
      await using pair = await make();
      await body(pair);
    });

  test("a frame comes to who listens for its type, and no other", async ({ comm, others }) => {
    await comm.listenFor([FrameType.BUTTON_STATE]);
    assert.equal(comm.acceptsFrame(FrameType.BUTTON_STATE), true);
    assert.equal(comm.acceptsFrame(FrameType.DISTANCE), false);
    await others(new Distance({ mm: 1 }), new ButtonState({ pressed: true }));
    assert.equal(comm.hasData(), true);
    const frame = comm.getData();
    assert.equal(frame.type, FrameType.BUTTON_STATE);
    assert.equal(frame.request, false);
    assert.deepEqual(frame.as(ButtonState), new ButtonState({ pressed: true }));
    assert.equal(frame.as(Distance), undefined);
    assert.equal(comm.hasData(), false);
  });

  test("ALL is every type of the definitions", async ({ comm, others }) => {
    await comm.listenFor(ALL_FRAMES);
    await others(new Distance({ mm: 1 }), new ButtonState());
    assert.deepEqual([comm.getData().name, comm.getData().name], ["DISTANCE", "BUTTON_STATE"]);
  });

  test("getData with nothing there says so", ({ comm }) => {
    assert.equal(comm.hasData(), false);
    assert.throws(() => comm.getData(), { code: "not_found", remedy: /hasData/ });
    return Promise.resolve();
  });

  test("a request is told from an answer, and has no value", async ({ comm, others }) => {
    await comm.listenFor([FrameType.BUTTON_STATE]);
    await others(ButtonState, new ButtonState());
    const question = comm.getData();
    assert.equal(question.request, true);
    assert.equal(question.as(ButtonState), undefined);
    assert.throws(() => question.value, { code: "invalid", remedy: /frame\.request/ });
    assert.equal(comm.getData().request, false);
  });

  test("ask asks, and gives the first answer", async ({ comm, others, heard }) => {
    const next = await heard([FrameType.DISTANCE]);
    const answer = comm.ask(Distance, { timeoutMs: 5000, priority: Priority.HIGH });
    const asked = await next();
    assert.deepEqual(asked, {
      type: FrameType.DISTANCE,
      value: undefined,
      priority: Priority.HIGH,
    });
    await others(new Distance({ mm: 7 }));
    assert.equal((await answer).mm, 7);
    assert.equal(comm.hasData(), false, "it was not listened for");
  });

  test("ask that nobody answers ends by its time, or its signal", async ({ comm }) => {
    await assert.rejects(comm.ask(Distance, { timeoutMs: 10 }), { code: "deadline_exceeded" });
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(comm.ask(Distance, { signal }), /enough/);
  });

  test("a callback gets what waits, then what comes", async ({ comm, others }) => {
    await comm.listenFor([FrameType.DISTANCE]);
    await others(new Distance({ mm: 1 }));
    const seen: number[] = [];
    comm.onFrame((frame) => void seen.push(frame.as(Distance)!.mm));
    await others(new Distance({ mm: 2 }));
    assert.deepEqual(seen, [1, 2]);
    assert.equal(comm.hasData(), false);
  });

  test("the loop ends when the comm stops", async ({ comm, others }) => {
    await comm.listenFor([FrameType.DISTANCE]);
    await others(new Distance({ mm: 1 }), new Distance({ mm: 2 }));
    const seen: number[] = [];
    for await (const frame of comm) {
      seen.push(frame.as(Distance)!.mm);
      if (seen.length === 2) void comm.stop();
    }
    assert.deepEqual(seen, [1, 2]);
  });

  test("a frame that does not fit is refused by name", ({ comm }) => {
    assert.throws(() => comm.send(new Distance({ mm: -1 })), { message: /DISTANCE\.mm is -1/ });
    assert.throws(() => comm.request(200), { code: "invalid" });
    return Promise.resolve();
  });

  test("an unknown type is refused", async ({ comm }) => {
    await assert.rejects(async () => await comm.listenFor([200]), { code: "invalid" });
  });

  test("a stopped comm says so", async ({ comm }) => {
    await comm.stop();
    await comm.stop();
    await assert.rejects(async () => await comm.send(new Ping()), { code: "closed" });
    await assert.rejects(async () => await comm.request(Ping), { code: "closed" });
  });

  test("what is sent arrives as it was", async ({ comm, heard }) => {
    const next = await heard([FrameType.DISPLAY_8x8_CHARACTER]);
    const frame = new Display8x8Character({ x: 1, y: 2, characters: "grün" });
    await comm.send(frame, Priority.LOW);
    const { type, ...sent } = frame.constructor === Display8x8Character
      ? await next()
      : assert.fail();
    assert.equal(type, FrameType.DISPLAY_8x8_CHARACTER);
    assert.deepEqual(sent, { value: frame, priority: Priority.LOW });
  });
}

Deno.test("MockComm: the inbox is bounded, higher lanes first, drops are counted", async () => {
  await using comm = new MockComm({ frames, maxQueue: 2 });
  await comm.listenFor([FrameType.DISTANCE]);
  comm.receive(new Distance({ mm: 1 }), { priority: Priority.LOW });
  comm.receive(new Distance({ mm: 2 }));
  comm.receive(new Distance({ mm: 3 }), { priority: Priority.HIGH });
  const order = [comm.getData(), comm.getData()].map((frame) => frame.as(Distance)!.mm);
  assert.deepEqual(order, [3, 2]);
  assert.deepEqual(comm.statistics().dropped, { overflow: 1 });
});

Deno.test("MockComm: what is less urgent than all that wait is itself what a full inbox drops", async () => {
  await using comm = new MockComm({ frames, maxQueue: 2 });
  await comm.listenFor([FrameType.DISTANCE]);
  comm.receive(new Distance({ mm: 1 }), { priority: Priority.HIGH });
  comm.receive(new Distance({ mm: 2 }), { priority: Priority.NORMAL });
  comm.receive(new Distance({ mm: 3 }), { priority: Priority.DATA_STREAM });
  assert.deepEqual(comm.statistics().dropped, { overflow: 1 });
  const order = [comm.getData(), comm.getData()].map((frame) => frame.as(Distance)!.mm);
  assert.deepEqual(order, [1, 2]);
});

Deno.test("MockComm: a callback that takes itself out gets no more, and the rest waits", async () => {
  await using comm = new MockComm({ frames });
  await comm.listenFor([FrameType.DISTANCE]);
  for (const mm of [1, 2, 3]) comm.receive(new Distance({ mm }));
  const seen: string[] = [];
  comm.onFrame((frame) => {
    seen.push(`first ${frame.as(Distance)!.mm}`);
    comm.onFrame(undefined);
  });
  assert.deepEqual([seen, comm.pending], [["first 1"], 2]);
  // One that puts another in its place: that one gets the rest, and each frame is seen once.
  comm.onFrame((frame) => {
    seen.push(`second ${frame.as(Distance)!.mm}`);
    comm.onFrame((frame) => void seen.push(`third ${frame.as(Distance)!.mm}`));
  });
  assert.deepEqual([seen, comm.pending], [["first 1", "second 2", "third 3"], 0]);
});

Deno.test("BusComm: a module whose definitions differ is refused with the list", async () => {
  await using hub = await manager();
  const [url] = hub.transport(bus).where;
  await using first = await BusComm.open({ module: "first", frames, url });
  await first.listenFor([FrameType.PING]);
  class Pressed extends ButtonState {
    static override readonly layout = "0000000000000000" as never;
  }
  const classes = [...frames.byName.values()].filter(({ frameName }) => frameName !== "PING")
    .map((each) => each === ButtonState ? Pressed : each);
  const other = new FrameSet("another", classes);
  await using second = await BusComm.open({ module: "second", frames: other, url });
  await assert.rejects(
    second.listenFor([FrameType.DISTANCE]),
    (error: Error & { code: string }) => {
      assert.equal(error.code, "invalid");
      assert.match(
        error.message,
        /BUTTON_STATE has another layout there; PING \(35\) is only there/,
      );
      return true;
    },
  );
});

Deno.test("BusComm: modules may start before the manager, and outlive it", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const url = `tcp://127.0.0.1:${port}`;
  const reports: string[] = [];
  const options = { frames, url, reconnectMaxMs: 50, onReport: () => {} };
  await using button = await BusComm.open({
    module: "button",
    ...options,
    onReport: ({ message }) => void reports.push(message),
  });
  await using led = await BusComm.open({ module: "led", ...options });
  await led.listenFor([FrameType.BUTTON_STATE]);
  const pressed = new ButtonState({ pressed: true });
  await button.send(pressed);
  assert.equal(button.statistics().unsent, 1);
  assert.deepEqual(reports, [
    `no manager of a bus answers at ${url}; it is joined as soon as it is there`,
  ]);
  for (let round = 0; round < 2; round++) {
    await using _hub = await manager(port);
    // The module is heard once the manager is there, without anything being done about it.
    let heard = false;
    led.onFrame(() => void (heard = true));
    for (let tries = 0; !heard && tries < 500; tries++) {
      await button.send(pressed);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.ok(heard, `round ${round}`);
  }
  assert.ok(led.statistics().reconnections >= 1);
});

/** A manager, and modules on it by name. */
async function joined(...names: string[]) {
  const hub = await manager();
  const [url] = hub.transport(bus).where;
  const comms = await Promise.all(
    names.map((module) => BusComm.open({ module, frames, url, maxQueue: 64 })),
  );
  return {
    hub,
    comms,
    async [Symbol.asyncDispose]() {
      for (const comm of comms) await comm.stop();
      await hub.close();
    },
  };
}

/** What a comm gets, up to a distance. */
async function upTo(comm: Comm, mm: number): Promise<string[]> {
  const seen: string[] = [];
  for await (const frame of comm) {
    const value = frame.request ? "request" : `${frame.as(Distance)!.mm}`;
    seen.push(frame.origin.retained ? `${value} retained` : value);
    if (frame.as(Distance)?.mm === mm) return seen;
  }
  return assert.fail("the comm has stopped");
}

Deno.test("BusComm: a request takes the place of no last value", async () => {
  await using at = await joined("sensor", "early", "late", "later");
  const [sensor, early, late, later] = at.comms;
  const distance = [FrameType.DISTANCE];
  await sensor.send(new Distance({ mm: 1 }));
  await early.listenFor(distance, { retained: true });
  await sensor.send(new Distance({ mm: 2 }));
  await sensor.request(Distance);
  // The manager has both by now, and keeps the right one for those with the same terms.
  assert.equal((await upTo(early, 2)).at(-1), "2");
  await late.listenFor(distance, { retained: true });
  await later.listenFor(distance, { retained: true });
  await sensor.send(new Distance({ mm: 3 }));
  assert.deepEqual(await upTo(late, 3), ["2 retained", "3"]);
  assert.deepEqual(await upTo(later, 3), ["2 retained", "3"]);
  assert.deepEqual(await upTo(early, 3), ["request", "3"]);
  // And the sensor itself keeps the right one: nobody listens any more when it asks.
  for (const comm of [early, late, later]) await comm.stop();
  await sensor.request(Distance);
  await using fresh = await BusComm.open({
    module: "fresh",
    frames,
    url: at.hub.transport(bus).where[0],
  });
  await fresh.listenFor(distance, { retained: true });
  await sensor.send(new Distance({ mm: 4 }));
  assert.deepEqual(await upTo(fresh, 4), ["3 retained", "4"]);
});

Deno.test("BusComm: who has asked for a type first gets its last value when it listens", async () => {
  await using at = await joined("sensor", "display");
  const [sensor, display] = at.comms;
  await sensor.send(new Distance({ mm: 1 }));
  await assert.rejects(display.ask(Distance, { timeoutMs: 1 }), { code: "deadline_exceeded" });
  await display.listenFor([FrameType.DISTANCE], { retained: true });
  await sensor.send(new Distance({ mm: 2 }));
  assert.deepEqual(await upTo(display, 2), ["1 retained", "2"]);
  // Each comes once, though there were two listeners for a moment; and questions have answers.
  const answer = display.ask(Distance, { timeoutMs: 60_000 });
  await sensor.send(new Distance({ mm: 3 }));
  await sensor.send(new Distance({ mm: 4 }));
  assert.ok((await answer).mm >= 3);
  assert.deepEqual(await upTo(display, 4), ["3", "4"].filter((each) => each !== "request"));
  assert.deepEqual(display.statistics().dropped, {});
});

Deno.test("BusComm: a first frame that nobody awaits does no harm when the module stops", async () => {
  await using at = await joined("hasty");
  const [hasty] = at.comms;
  // An unhandled rejection would end the test.
  void hasty.send(new Distance({ mm: 1 }));
  await hasty.stop();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(hasty.statistics().unsent, 1);
});

Deno.test("BusComm: what a higher lane overtakes is not missing once it has come", async () => {
  await using at = await joined("camera", "display");
  const [camera] = at.comms;
  await using display = await BusComm.open({
    module: "wide",
    frames,
    url: at.hub.transport(bus).where[0],
    maxQueue: 10_000,
  });
  await display.listenFor([FrameType.DISTANCE]);
  await camera.send(new Distance({ mm: 0 }));
  const low = 4000;
  for (let mm = 1; mm <= low; mm++) camera.send(new Distance({ mm }), Priority.DATA_STREAM);
  camera.send(new Distance({ mm: low + 1 }), Priority.HIGH);
  const order: number[] = [];
  for await (const frame of display) {
    order.push(frame.as(Distance)!.mm);
    if (order.length === low + 2) break;
  }
  assert.ok(order.indexOf(low + 1) < low + 1, "it has overtaken some");
  assert.deepEqual(display.statistics().dropped, {});
});

Deno.test("BusComm: every frame has come, or is counted", async () => {
  await using at = await joined("camera", "display");
  const [camera, display] = at.comms;
  await display.listenFor([FrameType.DISTANCE]);
  let came = 0;
  let last: number | undefined;
  display.onFrame((frame) => {
    came++;
    const { mm } = frame.as(Distance)!;
    if (mm >= 40_000) last = mm - 40_000;
  });
  await camera.send(new Distance({ mm: 0 }));
  const flood = 20_000;
  for (let mm = 1; mm <= flood; mm++) {
    camera.send(new Distance({ mm }), mm % 7 === 0 ? Priority.HIGH : Priority.LOW);
  }
  // What is in the lowest lane comes last, unless the queues were so full that it was dropped itself.
  for (let tries = 1; last === undefined && tries < 10_000; tries++) {
    camera.send(new Distance({ mm: 40_000 + tries }), Priority.DATA_STREAM);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const { received, dropped } = display.statistics();
  assert.ok(came < flood, "some were dropped");
  assert.deepEqual([received, dropped.gap], [came, 1 + flood + last! - came]);
});
