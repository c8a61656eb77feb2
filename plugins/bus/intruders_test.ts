/** What comes to a manager's port without being asked: rubbish by the thousand, and modules that never stay. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { busAddress, dialBus } from "./address.ts";
import { BusComm } from "./mod.ts";
import { Distance, frames, FrameType } from "./testdata/frames.ts";

/** How many inputs; FUZZ_INPUTS=1000000 for the long form. */
const INPUTS = Number(Deno.env.get("FUZZ_INPUTS") ?? 3000);
/** Where the random numbers begin; FUZZ_SEED repeats a run. */
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 2 ** 31);
/** How many modules join and leave; BUS_CHURN=10000 for the long form. */
const CHURN = Number(Deno.env.get("BUS_CHURN") ?? 500);
/** So many at a time. */
const AT_ONCE = 24;
/** A connection that is not closed within so long counts as hung, in milliseconds. */
const HUNG_MS = 30_000;
/** The runtime opens some descriptors when it first needs them; a leak would be of hundreds. */
const SPARE_DESCRIPTORS = 8;
/** What a manager may hold more after all than after the first tenth, in bytes. */
const MAX_GROWTH_BYTES = 16 * 1024 * 1024;

interface State {
  readonly heapBytes: number;
  readonly connections: number;
  readonly modules: string[];
  readonly descriptors: number;
  readonly reports: number;
  readonly unhandled: number;
}

/** A manager in a process of its own, with two modules that talk all the time. */
class Place implements AsyncDisposable {
  readonly urls: string[];
  readonly #child: Deno.ChildProcess;
  readonly #folder: string;
  readonly #sender: BusComm;
  readonly #receiver: BusComm;
  readonly #came: number[] = [];
  #sent = 0;

  private constructor(
    urls: string[],
    child: Deno.ChildProcess,
    folder: string,
    sender: BusComm,
    receiver: BusComm,
  ) {
    this.urls = urls;
    this.#child = child;
    this.#folder = folder;
    this.#sender = sender;
    this.#receiver = receiver;
    receiver.onFrame((frame) => {
      const value = frame.as(Distance);
      if (frame.origin.module === "bystander_a" && value !== undefined) this.#came.push(value.mm);
    });
  }

  static async open(): Promise<Place> {
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    await Deno.chmod(folder, 0o700);
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--v8-flags=--expose-gc",
        fileURLToPath(new URL("testdata/manager_process.ts", import.meta.url)),
        `${folder}/bus.sock`,
      ],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const urls = JSON.parse((await reader.read()).value as string) as string[];
    await reader.cancel();
    const [url] = urls;
    const sender = await BusComm.open({ module: "bystander_a", frames, url });
    const receiver = await BusComm.open({ module: "bystander_b", frames, url });
    await receiver.listenFor([FrameType.DISTANCE]);
    await sender.send(new Distance({ mm: 0 }));
    const place = new Place(urls, child, folder, sender, receiver);
    place.#sent = 1;
    return place;
  }

  /** A frame from one bystander to the other. */
  beat(): void {
    this.#sender.send(new Distance({ mm: this.#sent++ % 65_536 }));
  }

  state(): Promise<State> {
    return this.#sender.bay.callable<null, State>("test/state").call(null, { timeoutMs: 60_000 });
  }

  /**
   * The state once all but the bystanders have gone, and the kernel has what was theirs: a descriptor
   * lives until the last read on it has ended.
   *
   * @param descriptors How many descriptors there were before.
   */
  async quiet(descriptors = Infinity): Promise<State> {
    let state = await this.state();
    const busy = () => state.connections > 2 || state.descriptors > descriptors + SPARE_DESCRIPTORS;
    for (let tries = 0; busy() && tries < 3000; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      state = await this.state();
    }
    return state;
  }

  /** Nobody has disturbed the bystanders. */
  async undisturbed(): Promise<void> {
    for (let tries = 0; this.#came.length < this.#sent && tries < 3000; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.deepEqual(this.#came, Array.from({ length: this.#sent }, (_, n) => n % 65_536));
    for (const comm of [this.#sender, this.#receiver]) {
      assert.equal(comm.statistics().reconnections, 0);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender.stop();
    await this.#receiver.stop();
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Does something so many times, some at once. */
async function many(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < count) await work(next++);
  }));
}

/** What a real module writes, frame by frame: the hello first. */
async function realFrames(url: string): Promise<Uint8Array[]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const written: Uint8Array[] = [];
  const proxying = (async () => {
    const near = await listener.accept();
    const far = await dialBus(busAddress(url)!, url, AbortSignal.timeout(10_000));
    const back = far.readable.pipeTo(near.writable).catch(() => {});
    const recorder = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        written.push(chunk.slice());
        controller.enqueue(chunk);
      },
    });
    await near.readable.pipeThrough(recorder).pipeTo(far.writable).catch(() => {});
    await back;
  })();
  const comm = await BusComm.open({
    module: "recorded",
    frames,
    url: `tcp://127.0.0.1:${port}`,
    onReport: () => {},
  });
  await comm.listenFor([FrameType.DISTANCE, FrameType.BUTTON_STATE], { retained: true });
  await comm.bay.serve("recorded/echo", (value) => value);
  await comm.bay.callable<null, unknown>("test/state").call(null, { timeoutMs: 60_000 });
  await comm.request(Distance);
  await comm.send(new Distance({ mm: 1 }));
  await comm.stop();
  await proxying;
  const bytes = new Uint8Array(await new Blob(written as BlobPart[]).arrayBuffer());
  const found: Uint8Array[] = [];
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + view.getUint32(at, true);
    found.push(bytes.slice(at, end));
    at = end;
  }
  return found;
}

/** Small random numbers that come again with their seed (a linear congruential generator). */
function randomFrom(seed: number): (below: number) => number {
  let state = BigInt(seed);
  return (below) => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number(state >> 33n) % below;
  };
}

/** Makes inputs and greetings: random bytes, mutated frames, good ones in the wrong order. */
function maker(real: readonly Uint8Array[], random: (below: number) => number) {
  const [hello, ...others] = real;
  const noise = (length: number) => Uint8Array.from({ length }, () => random(256));
  const framed = (body: Uint8Array) => {
    const bytes = new Uint8Array(4 + body.length);
    new DataView(bytes.buffer).setUint32(0, body.length, true);
    bytes.set(body, 4);
    return bytes;
  };
  const mutated = (frame: Uint8Array, lengthToo: boolean) => {
    const bytes = frame.slice();
    const from = lengthToo ? 0 : Math.min(4, bytes.length - 1);
    for (let n = 0; n <= random(4); n++) {
      bytes[from + random(bytes.length - from)] = random(256);
    }
    return bytes;
  };
  const some = () => others[random(others.length)];
  const greeting = () => {
    const bytes = hello.slice();
    // A bay of its own: `"id":"…"` is 16 hexadecimal digits.
    const at = new TextDecoder("latin1").decode(bytes).indexOf('"id":"') + 6;
    for (let n = 0; n < 16; n++) bytes[at + n] = "0123456789abcdef".charCodeAt(random(16));
    return bytes;
  };
  const kinds: (() => Uint8Array[])[] = [
    () => [noise(1 + random(400))],
    () => [framed(noise(random(400)))],
    () => [Uint8Array.of(255, 255, 255, 128 + random(128)), noise(random(64))],
    () => [mutated(hello, random(4) === 0)],
    () => [hello.slice(0, random(hello.length))],
    () => [some(), hello],
    () => [greeting(), ...Array.from({ length: 1 + random(6) }, () => mutated(some(), false))],
    () => [greeting(), ...others.slice(0, random(others.length)), mutated(some(), true)],
    () => [
      greeting(),
      ...Array.from({ length: 1 + random(4) }, () => {
        const body = noise(24 + random(200));
        body[0] = random(64); // The kind: most of them mean something.
        return framed(body);
      }),
    ],
    () => [greeting(), greeting()],
  ];
  const input = (): Uint8Array<ArrayBuffer> => {
    const parts = kinds[random(kinds.length)]();
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  };
  return { input, greeting };
}

/** Writes all there is and reads until the manager closes; whether it did. */
async function intrude(connection: Deno.Conn, input: Uint8Array): Promise<boolean> {
  let hung = false;
  const watchdog = setTimeout(() => {
    hung = true;
    connection.close();
  }, HUNG_MS);
  const buffer = new Uint8Array(4096);
  try {
    for (let at = 0; at < input.length;) at += await connection.write(input.subarray(at));
    await connection.closeWrite();
    while (await connection.read(buffer) !== null);
  } catch {
    // A reset closes, too.
  }
  clearTimeout(watchdog);
  if (!hung) connection.close();
  return !hung;
}

Deno.test(`bus manager: ${INPUTS} inputs that are none of its protocol disturb nobody`, async () => {
  await using place = await Place.open();
  const random = randomFrom(SEED);
  const { input } = maker(await realFrames(place.urls[0]), random);
  let first: State | undefined;
  let hung = 0;
  const slices = 10;
  for (let slice = 0; slice < slices; slice++) {
    await many(Math.ceil(INPUTS / slices), async (index) => {
      const url = place.urls[index % 2];
      const connection = await dialBus(busAddress(url)!, url, AbortSignal.timeout(HUNG_MS));
      if (!await intrude(connection, input())) hung++;
      if (index % 16 === 0) place.beat();
    });
    const state = await place.quiet(first?.descriptors);
    first ??= state;
    assert.equal(hung, 0, `connections were not closed (FUZZ_SEED=${SEED})`);
    assert.deepEqual(
      [state.connections, state.modules, state.unhandled],
      [2, ["bystander_a", "bystander_b"], 0],
      `FUZZ_SEED=${SEED}`,
    );
    const grown = state.heapBytes - first.heapBytes;
    assert.ok(grown < MAX_GROWTH_BYTES, `the manager has grown by ${grown} (FUZZ_SEED=${SEED})`);
    assert.ok(
      state.descriptors <= first.descriptors + SPARE_DESCRIPTORS,
      "descriptors have leaked",
    );
    assert.ok(state.reports > 0);
  }
  await place.undisturbed();
});

Deno.test("bus manager: of a module that dies in the middle of a frame, whole frames arrive and nothing else", async () => {
  await using place = await Place.open();
  const real = await realFrames(place.urls[0]);
  const make = maker(real, randomFrom(SEED));
  const heard: (number | undefined)[] = [];
  await using listener = await BusComm.open({ module: "listener", frames, url: place.urls[0] });
  await listener.listenFor([FrameType.DISTANCE]);
  listener.onFrame((frame) => {
    if (!frame.request && frame.origin.module === "recorded") heard.push(frame.as(Distance)?.mm);
  });
  // The last byte of the frame that is heard: its body is one, little-endian, and the last like that.
  const others = real.slice(1);
  const at = others.findLastIndex((each) => each.at(-2) === 1 && each.at(-1) === 0);
  assert.ok(at >= 0, "the frame was not recorded");
  const end = others.slice(0, at + 1).reduce((sum, each) => sum + each.length, 0);
  const bytes = new Uint8Array(await new Blob(others as BlobPart[]).arrayBuffer());
  const cuts = others[at].length;
  for (let cut = 0; cut <= cuts; cut++) {
    const url = place.urls[cut % 2];
    const connection = await dialBus(busAddress(url)!, url, AbortSignal.timeout(HUNG_MS));
    // It is let in, and then dies.
    await connection.write(make.greeting());
    assert.ok(await connection.read(new Uint8Array(4096)));
    assert.ok(await intrude(connection, bytes.slice(0, end - cuts + cut)));
    place.beat();
  }
  for (let tries = 0; heard.length === 0 && tries < 3000; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await place.undisturbed();
  assert.deepEqual(heard, [1]);
});

Deno.test(`bus manager: ${CHURN} modules that come and go leave nothing behind`, async () => {
  await using place = await Place.open();
  const [hello] = await realFrames(place.urls[0]);
  const turn = async (index: number) => {
    const url = place.urls[index % 2];
    place.beat();
    if (index % 4 === 3) {
      // One that dies after its hello.
      const connection = await dialBus(busAddress(url)!, url, AbortSignal.timeout(HUNG_MS));
      await connection.write(hello);
      connection.close();
      return;
    }
    const comm = await BusComm.open({ module: `passing_${index % 50}`, frames, url });
    await comm.listenFor([FrameType.BUTTON_STATE]);
    await comm.send(new Distance({ mm: 1 }));
    await comm.stop();
  };
  await many(Math.min(CHURN, 200), turn);
  const first = await place.quiet();
  await many(CHURN, turn);
  const state = await place.quiet(first.descriptors);
  assert.deepEqual(
    [state.connections, state.modules, state.unhandled],
    [2, ["bystander_a", "bystander_b"], 0],
  );
  assert.ok(state.descriptors <= first.descriptors + SPARE_DESCRIPTORS, "descriptors have leaked");
  const grown = state.heapBytes - first.heapBytes;
  assert.ok(grown < MAX_GROWTH_BYTES, `the manager has grown by ${grown} bytes`);
  await place.undisturbed();
});
