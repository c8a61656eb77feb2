/**
 * Holds docs/bus_protocol.md to the code: what it says is enough, and all that is used here, to join
 * a real bus, to hear a frame, and to send one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import { Kind } from "@patchbay/core/envelope";
import bus, { BusComm, Priority } from "@patchbay/bus";
import { frames, FrameType, Text } from "@patchbay/bus/example";

const page = await Deno.readTextFile(new URL("../docs/bus_protocol.md", import.meta.url));

/** The numbers of the kinds, and the JSON that the page gives as their bodies. */
const kinds = new Map<string, { readonly kind: number; readonly body: string }>();
for (const [, kind, name, rest] of page.matchAll(/^\| (\d+) +\| ([a-z-]+) +\|(.*)$/gm)) {
  kinds.set(name, { kind: Number(kind), body: /`(\{.*?\})`/.exec(rest)?.[1] ?? "" });
}

/** Where the header has what, by the first word of the table. */
const fields = new Map<string, number>();
for (const [, offset, name] of page.matchAll(/^\| (\d+) +\| \d+ +\| (\w+)/gm)) {
  fields.set(name, Number(offset));
}

const hello = /```json\n(\{\s+"versions"[^`]*)```/.exec(page)?.[1] ?? "";

interface Got {
  readonly kind: number;
  readonly id: number;
  readonly route: number;
  readonly number: number;
  readonly body: Uint8Array;
}

/** A module that knows what the page says, and no more. */
class Module implements Disposable {
  readonly #connection: Deno.TcpConn;

  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  async write(
    name: string,
    { id = 0, route = 0, number = 0, priority = 255 } = {},
    body: Uint8Array = new TextEncoder().encode(kinds.get(name)!.body),
  ): Promise<void> {
    const bytes = new Uint8Array(4 + 24 + body.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, bytes.length - 4, true);
    bytes[4 + fields.get("kind")!] = kinds.get(name)!.kind;
    bytes[4 + fields.get("priority")!] = priority;
    bytes[4 + fields.get("ttl")!] = 8;
    view.setUint32(4 + fields.get("id")!, id, true);
    view.setUint32(4 + fields.get("route")!, route, true);
    view.setFloat64(4 + fields.get("number")!, number, true);
    bytes.set(body, 28);
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  async #exactly(size: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size;) {
      at += await this.#connection.read(bytes.subarray(at)) ?? assert.fail("it was closed");
    }
    return bytes;
  }

  /** The next frame of a kind; what it does not know it ignores. */
  async next(name: string): Promise<Got> {
    for (;;) {
      const head = await this.#exactly(4);
      const bytes = await this.#exactly(new DataView(head.buffer).getUint32(0, true));
      const view = new DataView(bytes.buffer);
      const kind = bytes[fields.get("kind")!];
      const block = view.getUint16(fields.get("length")!, true);
      const got = {
        kind,
        id: view.getUint32(fields.get("id")!, true),
        route: view.getUint32(fields.get("route")!, true),
        number: view.getFloat64(fields.get("number")!, true),
        body: bytes.subarray(24 + block),
      };
      if (kind === kinds.get(name)!.kind) return got;
      const text = new TextDecoder().decode(got.body);
      assert.notEqual(kind, kinds.get("goodbye")!.kind, text);
      assert.notEqual(kind, kinds.get("error")!.kind, text);
    }
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}

Deno.test("docs/bus_protocol.md: the kinds are those of the code", () => {
  for (const [name, { kind, body }] of kinds) {
    const camel = name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    assert.equal(kind, (Kind as Readonly<Record<string, number>>)[camel], name);
    if (body !== "") JSON.parse(body);
  }
  assert.equal(kinds.size, 12);
});

Deno.test("docs/bus_protocol.md: what it says is enough to join, hear and send", async () => {
  await using manager = await open({
    module: "manager",
    plugins: [bus],
    config: { bus: { listen: { port: 0 } } },
  });
  const [url] = manager.transport(bus).where;
  await using comm = await BusComm.open({ module: "tester", frames, url });
  await comm.listenFor([FrameType.TEXT]);
  const port = Number(new URL(url.replace("tcp", "http")).port);
  using module = new Module(await Deno.connect({ hostname: "127.0.0.1", port }));
  const encode = (text: string) => new TextEncoder().encode(text);
  await module.write("hello", {}, encode("PBAY" + hello));
  const ack = new TextDecoder().decode((await module.next("hello-ack")).body);
  assert.ok(JSON.parse(ack.replace(/^PBAY/, "")).windowBytes >= 65_536);

  // Its speaker is at route 0; the bus subscribes for the tester.
  await module.write("route", { route: 0 });
  await module.write("register", { id: 1 });
  const wanted = await module.next("subscribe");
  assert.equal(JSON.parse(new TextDecoder().decode(wanted.body)).pattern, "frame/text");
  await module.write("subscribe-ack", { id: wanted.id });
  await module.next("register-ack");
  const body = (text: string) => Uint8Array.of(0, ...frames.encode(new Text({ text })));
  const way = { id: wanted.id, route: 0, number: 1, priority: Priority.HIGH };
  await module.write("event", way, body("from the page"));
  for await (const frame of comm) {
    assert.equal(frame.as(Text)?.text, "from the page");
    assert.deepEqual([frame.origin.module, frame.origin.priority], ["snake", Priority.HIGH]);
    break;
  }

  await module.write("subscribe", { id: 7 });
  await module.next("subscribe-ack");
  await comm.send(new Text({ text: "to the page" }));
  const told = await module.next("event");
  assert.deepEqual([told.id, told.number], [7, 1]);
  assert.deepEqual([...told.body], [...body("to the page")]);
  await module.write("credit", { number: 24 + told.body.length });
  await comm.request(FrameType.TEXT);
  assert.deepEqual([...(await module.next("event")).body], [1]);

  await module.write("unsubscribe", { id: 7 });
  const left = Promise.withResolvers<void>();
  manager.transport(bus).onAttendance(({ event, name }) => {
    if (event === "left" && name === "snake") left.resolve();
  });
  await module.write("goodbye");
  await left.promise;
});
