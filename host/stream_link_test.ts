import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type LinkHandler, MAX_FRAME_BYTES, PatchbayError } from "@patchbay/core";
import { encodeHello, HEADER_BYTES, Kind, writeHeader } from "@patchbay/core/envelope";
import fc from "fast-check";
import { LENGTH_BYTES, StreamLink } from "./stream_link.ts";

/** Fails a test that hangs, in milliseconds. */
const WATCHDOG_MS = 30_000;

async function settled<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: still waiting`)), WATCHDOG_MS);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Two ends of a Unix socket. */
async function socketPair(): Promise<{ one: Deno.Conn; other: Deno.Conn } & AsyncDisposable> {
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  const path = `${folder}/s`;
  const listener = Deno.listen({ transport: "unix", path });
  const [one, other] = await Promise.all([
    Deno.connect({ transport: "unix", path }),
    listener.accept(),
  ]);
  listener.close();
  return {
    one,
    other,
    async [Symbol.asyncDispose]() {
      for (const each of [one, other]) {
        try {
          each.close();
        } catch {
          // A link has closed it.
        }
      }
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Keeps what a link tells. */
class Told implements LinkHandler {
  readonly frames: Uint8Array[] = [];
  readonly breaches: PatchbayError[] = [];
  batches = 0;
  drains = 0;
  closes = 0;
  readonly gone = Promise.withResolvers<PatchbayError | undefined>();
  #onChange: () => void = () => {};

  frame(buffer: Uint8Array, start: number, end: number): void {
    this.frames.push(buffer.slice(start, end));
    this.#onChange();
  }

  batchEnd(): void {
    this.batches++;
  }

  drained(): void {
    this.drains++;
    this.#onChange();
  }

  malformed(error: PatchbayError): void {
    this.breaches.push(error);
    this.#onChange();
  }

  closed(error: PatchbayError | undefined): void {
    this.closes++;
    this.gone.resolve(error);
  }

  async until(what: string, so: () => boolean): Promise<void> {
    await settled(
      what,
      new Promise<void>((resolve) => {
        this.#onChange = () => {
          if (so()) resolve();
        };
        this.#onChange();
      }),
    );
  }
}

function send(link: StreamLink, frame: Uint8Array): void {
  const at = link.claim(frame.length);
  link.buffer.set(frame, at);
  link.commit(frame.length);
}

function lengthPrefixed(frames: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(frames.reduce((sum, frame) => sum + LENGTH_BYTES + frame.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const frame of frames) {
    view.setUint32(at, frame.length, true);
    bytes.set(frame, at + LENGTH_BYTES);
    at += LENGTH_BYTES + frame.length;
  }
  return bytes;
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

Deno.test("stream link: frames of any size arrive whole and in order, however the stream is cut", async () => {
  const frame = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.integer({ min: 0, max: MAX_FRAME_BYTES }).map((n) => new Uint8Array(n).fill(n & 0xff)),
  );
  const cuts = fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(frame, { minLength: 1, maxLength: 30 }),
      cuts,
      async (frames, sizes) => {
        await using sockets = await socketPair();
        const link = new StreamLink(sockets.one);
        const told = new Told();
        link.start(told);
        const bytes = lengthPrefixed(frames);
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + sizes[i % sizes.length]);
          await writeAll(sockets.other, bytes.subarray(at, end));
          at = end;
        }
        await told.until("the frames", () => told.frames.length === frames.length);
        assert.deepEqual(told.frames, frames);
        await link.close();
        assert.equal(told.closes, 1);
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("stream link: what is committed in one turn arrives in order, beyond one chunk, both ways", async () => {
  await using sockets = await socketPair();
  const links = [new StreamLink(sockets.one), new StreamLink(sockets.other)];
  const told = [new Told(), new Told()];
  links.forEach((link, i) => link.start(told[i]));
  const frames = Array.from({ length: 200 }, (_, n) => new Uint8Array(n * 100).fill(n));
  for (const link of links) {
    assert.ok(link.local && link.detectsClose);
    for (const frame of frames) {
      // A claim that is not used leaves no trace.
      link.buffer[link.claim(1000)] = 99;
      send(link, frame);
    }
    assert.ok(link.buffered > 1_900_000);
  }
  for (const each of told) {
    await each.until("the frames", () => each.frames.length === frames.length);
    assert.deepEqual(each.frames, frames);
  }
  for (const [i, link] of links.entries()) {
    await told[i].until("the drain", () => link.buffered === 0);
    assert.ok(told[i].drains > 0 && told[i].batches > 0);
  }
  await Promise.all(links.map((link) => link.close()));
  await settled("both ends", Promise.all(told.map(({ gone }) => gone.promise)));
});

Deno.test("stream link: a length over the limit is a breach, told once; nothing behind it is read", async () => {
  for (const length of [MAX_FRAME_BYTES + 1, 0x7fff_ffff, 0xffff_ffff]) {
    await using sockets = await socketPair();
    const link = new StreamLink(sockets.one);
    const told = new Told();
    link.start(told);
    const bytes = lengthPrefixed([new Uint8Array(3), new Uint8Array(8), new Uint8Array(3)]);
    new DataView(bytes.buffer).setUint32(LENGTH_BYTES + 3, length, true);
    await writeAll(sockets.other, bytes);
    await told.until("the breach", () => told.breaches.length > 0);
    assert.equal(told.frames.length, 1);
    assert.equal(told.breaches[0].code, "protocol");
    assert.deepEqual(told.breaches[0].details, { size: length, max: MAX_FRAME_BYTES });
    // The session says goodbye before it closes: writing still works.
    send(link, new Uint8Array(5));
    await settled("closing", link.close());
    const rest = new Uint8Array(100);
    assert.equal(await sockets.other.read(rest), LENGTH_BYTES + 5);
    assert.equal(await sockets.other.read(rest), null);
    assert.equal(told.breaches.length, 1);
    assert.equal(told.closes, 1);
  }
});

Deno.test("stream link: a peer that ends in the middle of a frame closes it, without that frame", async () => {
  const bytes = lengthPrefixed([new Uint8Array(10), new Uint8Array(10)]);
  for (const cut of [0, 1, 4, 9, 14, 15, 20, 27]) {
    await using sockets = await socketPair();
    const link = new StreamLink(sockets.one);
    const told = new Told();
    link.start(told);
    await writeAll(sockets.other, bytes.subarray(0, cut));
    sockets.other.close();
    await settled("the end", told.gone.promise);
    assert.equal(told.frames.length, Math.floor(cut / 14));
    assert.equal(told.closes, 1);
    await link.close();
  }
});

Deno.test("stream link: close sends what was committed, abrupt close does not wait; both are idempotent", async () => {
  await using sockets = await socketPair();
  const link = new StreamLink(sockets.one);
  link.start(new Told());
  for (let n = 0; n < 50; n++) send(link, new Uint8Array(20_000).fill(n));
  const reading = (async () => {
    const buffer = new Uint8Array(65_536);
    let bytes = 0;
    for (let read = await sockets.other.read(buffer); read !== null;) {
      bytes += read;
      read = await sockets.other.read(buffer);
    }
    return bytes;
  })();
  await Promise.all([link.close(), link.close()]);
  await link.close(true);
  assert.equal(await settled("the reader", reading), 50 * 20_004);
  await using others = await socketPair();
  const stuck = new StreamLink(others.one);
  const told = new Told();
  stuck.start(told);
  for (let n = 0; n < 50; n++) send(stuck, new Uint8Array(20_000));
  const gentle = stuck.close();
  await settled("an abrupt close", stuck.close(true));
  await settled("the gentle one before it", gentle);
  assert.equal(told.closes, 1);
  // What comes afterwards is harmless.
  send(stuck, new Uint8Array(10));
  stuck.flush();
});

Deno.test("stream link: a gentle close of a peer that never reads ends by itself", async () => {
  await using sockets = await socketPair();
  const link = new StreamLink(sockets.one);
  const told = new Told();
  link.start(told);
  for (let n = 0; n < 100; n++) send(link, new Uint8Array(20_000));
  await settled("closing", link.close());
  assert.equal(told.closes, 1);
  assert.equal(link.buffered, 0);
});

/** The bytes of a frame behind its length. */
function framed(kind: number, id: number, route: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES + HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, HEADER_BYTES + body.length, true);
  writeHeader(view, LENGTH_BYTES, kind, 0, 0, 128, 0, id, route, 1000);
  bytes.set(body, LENGTH_BYTES + HEADER_BYTES);
  return bytes;
}

Deno.test("a peer that asks and never reads is closed, and takes little memory", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  const path = `${folder}/s`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", fileURLToPath(new URL("testdata/never_reads.ts", import.meta.url)), path],
    stdin: "piped",
    stdout: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const line = async () => JSON.parse((await settled("the child", lines.read())).value ?? "null");
  try {
    const { ready } = await line();
    const hello = encodeHello({
      versions: [1, 1],
      bay: { id: "f".repeat(16), module: "greedy", instance: "greedy" },
      codecs: ["json", "raw"],
      compression: [],
      maxMessageBytes: 1 << 24,
      windowBytes: 65_536,
      capabilities: [],
      metadata: {},
    });
    const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    for (const address of ["large", "echo"]) {
      const conn = await Deno.connect({ transport: "unix", path });
      await writeAll(conn, framed(Kind.hello, 0, 0, hello));
      await settled("the hello-ack", conn.read(new Uint8Array(4096)));
      await writeAll(conn, framed(Kind.route, 0, 0, json({ address })));
      const body = json(address === "echo" ? "x".repeat(8000) : null);
      let asked = 0;
      try {
        // 100,000 answers of 100 kB, or of 8 kB, would be far beyond any cap.
        while (asked < 100_000) {
          await settled("a write", writeAll(conn, framed(Kind.request, ++asked, 0, body)));
        }
      } catch (error) {
        assert.ok(!(error as Error).message.includes("still waiting"), String(error));
      }
      assert.ok(asked < 100_000, `${address}: it was never cut off`);
      conn.close();
    }
    const input = child.stdin.getWriter();
    await input.write(new Uint8Array([10]));
    await input.close();
    const { peakBytes, errors } = await line();
    assert.equal(errors.overloaded, 2);
    const grown = peakBytes - ready;
    assert.ok(grown < 64 * 1024 * 1024, `it grew by ${Math.round(grown / 2 ** 20)} MiB`);
    assert.equal((await settled("the child's end", child.status)).code, 0);
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await child.status;
    await lines.cancel();
    await Deno.remove(folder, { recursive: true });
  }
});

/** A connection on which the same bytes can always be read at once, as often as is said. */
class Flood {
  readonly remoteAddr = { transport: "unix", path: "/flood" } as const;
  reads = 0;
  readonly #bytes: Uint8Array;
  readonly #ends: (reads: number) => boolean;

  constructor(bytes: Uint8Array, ends: (reads: number) => boolean) {
    this.#bytes = bytes;
    this.#ends = ends;
  }

  read(into: Uint8Array): Promise<number | null> {
    if (this.#ends(++this.reads)) return Promise.resolve(null);
    into.set(this.#bytes);
    return Promise.resolve(this.#bytes.length);
  }

  close(): void {}
}

Deno.test("stream link: one that is flooded does not keep the others from being read", async () => {
  await using sockets = await socketPair();
  const [near, far] = [new StreamLink(sockets.one), new StreamLink(sockets.other)];
  const [heard, answered] = [new Told(), new Told()];
  near.start(answered);
  far.start(heard);
  // Little and much at once: a large read takes as long as one that has waited.
  for (const frames of [1, 10]) {
    const questions = heard.frames.length + 3;
    const over = (reads: number) => answered.frames.length === questions || reads === 3_000_000;
    const bytes = lengthPrefixed(Array.from({ length: frames }, () => new Uint8Array(10_000)));
    const flood = new Flood(bytes, over);
    const ended = Promise.withResolvers<void>();
    send(near, new Uint8Array(8));
    new StreamLink(flood as unknown as Deno.Conn).start({
      frame: () => {},
      batchEnd: () => {},
      drained: () => {},
      malformed: () => {},
      closed: () => ended.resolve(),
    });
    for (let n = questions - 2; n <= questions; n++) {
      await heard.until("the question", () => heard.frames.length === n);
      send(far, new Uint8Array(8));
      await answered.until("the answer", () => answered.frames.length === n);
      if (n < questions) send(near, new Uint8Array(8));
    }
    await settled("the end of the flood", ended.promise);
    assert.ok(flood.reads < 3_000_000, "nothing else was read until the flood was over");
  }
  await Promise.all([near.close(), far.close()]);
});
