import assert from "node:assert/strict";
import type { LinkHandler, PatchbayError } from "@patchbay/core";
import { DenoDialler } from "./deno_dial.ts";
import { settled } from "./testdata/places.ts";

/** A frame of a WebSocket, not masked: as a server sends it. */
function frame(first: number, payload: Uint8Array | string, more: { masked?: boolean } = {}) {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const { length } = bytes;
  const head = length < 126
    ? [length]
    : length < 65_536
    ? [126, length >> 8, length & 255]
    : [127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255];
  if (more.masked) head[0] |= 0x80;
  return new Uint8Array([first, ...head, ...more.masked ? [0, 0, 0, 0] : [], ...bytes]);
}

/** A session's frame behind its length. */
function unit(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  const whole = new Uint8Array(4 + bytes.length);
  new DataView(whole.buffer).setUint32(0, bytes.length, true);
  whole.set(bytes, 4);
  return whole;
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

/** A server made by hand, and a link that has dialled it. */
class Place implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly heard: string[] = [];
  readonly #malformed = Promise.withResolvers<PatchbayError>();
  readonly #closed = Promise.withResolvers<PatchbayError | undefined>();
  conn!: Deno.TcpConn;
  link!: Awaited<ReturnType<DenoDialler["dial"]>>;
  told = Promise.withResolvers<void>();
  expected = 0;

  /** Answers the handshake with these lines, after the status line. */
  async open(answer?: (key: string) => string): Promise<this> {
    const { port } = this.#listener.addr;
    const options = {
      headers: { "x-test": "1" },
      tls: undefined,
      perMessageDeflate: false,
      compressionThreshold: 0,
    };
    const dialling = new DenoDialler(options).dial(
      `ws://127.0.0.1:${port}/p?q=1`,
      new AbortController().signal,
    );
    dialling.catch(() => {});
    this.conn = await this.#listener.accept();
    const buffer = new Uint8Array(4096);
    const read = await this.conn.read(buffer) ?? 0;
    const request = new TextDecoder().decode(buffer.subarray(0, read));
    assert.match(request, /^GET \/p\?q=1 HTTP\/1\.1\r\n/);
    assert.match(request, /x-test: 1\r\n/);
    const key = /Sec-WebSocket-Key: (.+)\r\n/.exec(request)?.[1] ?? "";
    const text = answer?.(key) ?? await accepted(key);
    await this.conn.write(new TextEncoder().encode(text));
    this.link = await settled("the dial", dialling);
    const handler: LinkHandler = {
      frame: (bytes, start, end) => {
        this.heard.push(new TextDecoder().decode(bytes.subarray(start, end)));
        if (this.heard.length === this.expected) this.told.resolve();
      },
      batchEnd: () => {},
      drained: () => {},
      malformed: (error) => this.#malformed.resolve(error),
      closed: (error) => this.#closed.resolve(error),
    };
    this.link.start(handler);
    return this;
  }

  get malformed(): Promise<PatchbayError> {
    return settled("the refusal", this.#malformed.promise);
  }

  get closed(): Promise<PatchbayError | undefined> {
    return settled("the end", this.#closed.promise);
  }

  async send(...parts: Uint8Array[]): Promise<void> {
    const bytes = joined(...parts);
    for (let at = 0; at < bytes.length;) at += await this.conn.write(bytes.subarray(at));
  }

  async hears(count: number): Promise<string[]> {
    this.expected = count;
    if (this.heard.length < count) await settled("the frames", this.told.promise);
    return this.heard;
  }

  /** Reads one frame of the client, and takes the mask off. */
  async read(): Promise<{ first: number; payload: Uint8Array }> {
    const exactly = async (length: number) => {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const read = await settled("a frame", this.conn.read(bytes.subarray(at)));
        assert.ok(read !== null, "the client has closed");
        at += read;
      }
      return bytes;
    };
    const [first, second] = await exactly(2);
    assert.ok(second & 0x80, "a client masks");
    let length = second & 0x7f;
    if (length === 126) length = new DataView((await exactly(2)).buffer).getUint16(0);
    else if (length === 127) {
      length = Number(new DataView((await exactly(8)).buffer).getBigUint64(0));
    }
    const mask = await exactly(4);
    const payload = (await exactly(length)).map((byte, i) => byte ^ mask[i % 4]);
    return { first, payload };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whoever waits for the closing handshake gets it.
    this.conn.close();
    this.#listener.close();
    await this.link?.close(true);
  }
}

async function accepted(key: string): Promise<string> {
  const bytes = new TextEncoder().encode(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-1", bytes));
  const accept = btoa(String.fromCharCode(...digest));
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: patchbay.v1\r\n\r\n`;
}

Deno.test("wire: frames of one turn leave as one masked message, of any size", async () => {
  await using place = await new Place().open();
  const { link } = place;
  const say = (bytes: number, fill: number) => {
    const at = link.claim(bytes);
    link.buffer.fill(fill, at, at + bytes);
    link.commit(bytes);
  };
  for (const sizes of [[1], [3, 5, 100], [122], [200, 1000], [20_000, 20_000, 24_000, 24_600]]) {
    sizes.forEach((size, i) => say(size, i + 65));
    const { first, payload } = await place.read();
    assert.equal(first, 0x82);
    const view = new DataView(payload.buffer);
    let at = 0;
    sizes.forEach((size, i) => {
      assert.equal(view.getUint32(at, true), size);
      const body = payload.subarray(at + 4, at + 4 + size);
      assert.ok(body.every((byte) => byte === i + 65), `garbled at ${i} of ${sizes}`);
      at += 4 + size;
    });
    assert.equal(at, payload.length);
  }
});

Deno.test("wire: messages are read whole, in pieces, byte by byte, with pings between", async () => {
  await using place = await new Place().open();
  await place.send(frame(0x82, joined(unit("one"), unit("two"))));
  await place.send(frame(0x02, unit("split").subarray(0, 2)), frame(0x89, "are you there?"));
  await place.send(
    frame(0x00, unit("split").subarray(2, 6)),
    frame(0x80, unit("split").subarray(6)),
  );
  for (const byte of frame(0x82, unit("slowly"))) await place.send(new Uint8Array([byte]));
  const large = "x".repeat(24_000);
  await place.send(frame(0x82, joined(...Array.from({ length: 12 }, () => unit(large)))));
  await place.send(frame(0x8a, "nobody asked"));
  const heard = await place.hears(16);
  assert.deepEqual(heard.slice(0, 4), ["one", "two", "split", "slowly"]);
  assert.ok(heard.slice(4).every((text) => text === large));
  const { first, payload } = await place.read();
  assert.equal(first, 0x8a);
  assert.equal(new TextDecoder().decode(payload), "are you there?");
});

Deno.test("wire: closing goes both ways, with its code", async () => {
  {
    await using place = await new Place().open();
    await place.send(frame(0x88, new Uint8Array([0x03, 0xf0, ...new TextEncoder().encode("no")])));
    const { first, payload } = await place.read();
    assert.equal(first, 0x88);
    assert.deepEqual([...payload], [0x03, 0xf0]);
    const error = await place.closed;
    assert.deepEqual([error?.code, error?.details?.code], ["closed", 1008]);
  }
  {
    await using place = await new Place().open();
    const at = place.link.claim(3);
    place.link.buffer.set([1, 2, 3], at);
    place.link.commit(3);
    const closing = place.link.close();
    assert.equal((await place.read()).payload.length, 7);
    const { first, payload } = await place.read();
    assert.deepEqual([first, ...payload], [0x88, 0x03, 0xe8]);
    await place.send(frame(0x88, new Uint8Array([0x03, 0xe8])));
    await settled("the close", closing);
    assert.equal(await place.closed, undefined);
  }
  {
    await using place = await new Place().open();
    place.conn.close();
    assert.equal((await place.closed)?.code, "closed");
    // Closed a second time by the disposal: that must do nothing.
    place.conn = { close: () => {} } as Deno.TcpConn;
  }
});

Deno.test("wire: what breaks the protocol is refused by name", async () => {
  const cases: [Uint8Array, RegExp][] = [
    [frame(0x81, "text"), /text message/],
    [frame(0xc2, unit("x")), /extension/],
    [frame(0x82, unit("x"), { masked: true }), /masked/],
    [frame(0x83, "x"), /operation 3/],
    [frame(0x8b, "x"), /operation 11/],
    [frame(0x09, "x"), /control frame/],
    [frame(0x89, new Uint8Array(126)), /control frame/],
    [frame(0x80, unit("x")), /message in a message/],
    [joined(frame(0x02, "ab"), frame(0x82, "cd")), /message in a message/],
    [frame(0x82, "ab"), /half a frame/],
    [frame(0x82, joined(unit("whole"), unit("half").subarray(0, 5))), /half a frame/],
    [frame(0x82, new Uint8Array([0xff, 0xff, 0xff, 0xff])), /frame of 4294967295 bytes/],
    [new Uint8Array([0x82, 127, 0, 0, 0, 0, 0x80, 0, 0, 0]), /2147483648 bytes/],
    [new Uint8Array([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]), /limit is 524288/],
  ];
  for (const [bytes, reason] of cases) {
    await using place = await new Place().open();
    await place.send(bytes);
    assert.match((await place.malformed).message, reason);
  }
});

Deno.test("wire: an answer that is no handshake is refused, with what it says", async () => {
  const cases: [(key: string) => string, string, RegExp][] = [
    [() => "SSH-2.0-something\r\n\r\n", "unavailable", /no HTTP server/],
    [() => "HTTP/1.1 404 Not Found\r\n\r\nnot here", "unavailable", /404: not here/],
    [() => "HTTP/1.1 401 Unauthorized\r\n\r\n", "unauthenticated", /refuses the token/],
    [() => "HTTP/1.1 403 Forbidden\r\n\r\n", "forbidden", /refuses connections/],
    [
      () =>
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        "Sec-WebSocket-Accept: nonsense\r\nSec-WebSocket-Protocol: patchbay.v1\r\n\r\n",
      "unavailable",
      /no WebSocket of ours/,
    ],
    [() => `HTTP/1.1 101 ${"x".repeat(20_000)}`, "unavailable", /no end/],
  ];
  for (const [answer, code, reason] of cases) {
    const place = new Place();
    const error = await place.open(answer).then(() => undefined, (e: PatchbayError) => e);
    assert.equal(error?.code, code, String(error));
    assert.match(error?.message ?? "", reason);
    await place[Symbol.asyncDispose]();
  }
});
