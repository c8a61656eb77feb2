/** What clients that mean harm come to. */

import assert from "node:assert/strict";
import { constants, deflateRawSync } from "node:zlib";
import {
  hubTransport,
  open,
  type PatchbayError,
  type Transport,
  type Watching,
} from "@patchbay/core";
import { denoParts } from "./deno_parts.ts";
import { createWebSocket } from "./plugin.ts";
import { bay, counted, hubAt, refused, settled, until } from "./testdata/places.ts";
import { JsonClient, type Message } from "./testdata/json_client.ts";
import { joined, masked, RawClient, text } from "./testdata/raw_client.ts";

/** Nobody is taken for dead: no heartbeat asks for a look at the bounds. */
const PATIENT = { pingIntervalMs: 300_000, pingTimeoutMs: 900_000 };
const ID = "0123456789abcdef";
const code = (message: Message) => (message.error as { code: string }).code;
/** Who a client is, is in its path. */
const authenticate = ({ path }: { path: string }) => path === "/" ? undefined : path.slice(1);

Deno.test("hostile: nobody comes in under the id of a client who is somebody else", async () => {
  const reports: PatchbayError[] = [];
  const { hub, url } = await hubAt({ authenticate, token: "t" }, reports);
  await using _ = hub;
  const offer = { type: "register", id: 1, pattern: "callable", address: "alice/secret" };
  await using alice = await JsonClient.open(`${url}/alice`, { id: ID });
  await alice.ask(offer, "register-ack");
  for (const [path, more] of [["/mallory", {}], ["/", { credentials: "t" }]] as const) {
    const mallory = await JsonClient.open(url + path, null);
    mallory.say({ type: "hello", module: "alice", id: ID, ...more });
    mallory.say({ type: "request", id: 1, address: "alice/secret" });
    const { error } = await mallory.next("goodbye") as { error?: { code: string; remedy: string } };
    assert.equal(error?.code, "forbidden");
    assert.match(error.remedy, /an id of its own/);
    assert.equal((await settled("the close", mallory.closed)).code, 1008);
    assert.deepEqual(mallory.unread, []);
  }
  assert.equal(reports.filter((error) => error.code === "forbidden").length, 2);
  // She has noticed nothing, and is back whenever she wants to be.
  const asked = hub.call("alice/secret", 1);
  const { id } = await alice.next("request");
  alice.say({ type: "response", id, value: 2 });
  assert.equal(await asked, 2);
  await using again = await JsonClient.open(`${url}/alice`, { id: ID });
  assert.equal((await settled("the old connection", alice.closed)).code, 1000);
  assert.equal((await again.ask(offer, "register-ack")).error, undefined);
});

Deno.test("hostile: without identities a client is known again by its resume secret alone", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  const refusedAt = async (hello: Record<string, unknown>) => {
    const client = await JsonClient.open(url, null);
    client.say({ type: "hello", ...hello });
    assert.equal(code(await client.next("goodbye")), "forbidden", JSON.stringify(hello));
    await client.closed;
  };
  // A bay has one of its own.
  await using arm = await bay("arm", { url });
  await arm.serve("arm/secret", () => "mine");
  const { id: armId } = arm.identity;
  await refusedAt({ module: "arm", id: armId });
  await refusedAt({ module: "arm", id: armId, resume: "guess" });
  assert.equal(await hub.call("arm/secret", 0), "mine");
  // The hub itself is nobody's.
  await refusedAt({ id: hub.identity.id });
  // A client chooses one with its id, or is told one.
  const chosen = await JsonClient.open(url, { id: ID, resume: "open sesame" });
  await refusedAt({ id: ID });
  await chosen.close();
  await refusedAt({ id: ID, resume: "open barley" });
  await (await JsonClient.open(url, { id: ID, resume: "open sesame" })).close();
  const told = await JsonClient.open(url, null);
  told.say({ type: "hello" });
  const { id, resume } = await told.next("hello-ack");
  await refusedAt({ id });
  await using back = await JsonClient.open(url, { id, resume });
  assert.equal((await settled("the old connection", told.closed)).code, 1000);
  assert.equal(
    (await back.ask({ type: "request", id: 1, address: "arm/secret" }, "response")).value,
    "mine",
  );
});

Deno.test("hostile: what follows a close frame is not done", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  let ran = 0;
  await hub.serve("hub/x", () => ++ran);
  const ask = text({ type: "request", id: 1, address: "hub/x" });
  using client = await RawClient.open(url);
  await client.write(text({ type: "hello" }));
  await client.until("hello-ack");
  await client.write(joined(ask, masked(0x88, new Uint8Array([3, 232])), ask, ask));
  await client.end();
  assert.equal(ran, 1);
});

/** Asks again and again, and reads nothing, until the hub has had enough. */
async function askWithoutReading(url: string, message: Record<string, unknown>): Promise<number> {
  using client = await RawClient.open(url);
  await client.write(text({ type: "hello", module: "evil" }));
  await client.until("hello-ack");
  const one = text(message);
  const many = joined(...Array.from({ length: 1000 }, () => one));
  for (let sent = 0; sent < 1_000_000; sent += 1000) {
    if (!await client.write(many)) return sent;
  }
  throw new Error("the hub goes on answering a client that never reads");
}

for (
  const [what, message] of [
    ["acknowledgements", { type: "shout", id: 1, address: "evil/a", value: 1 }],
    ["refusals", { type: "request", id: 1, address: "NOT AN ADDRESS" }],
    ["presence", { type: "find", id: 1, pattern: "callable", address: "evil/a" }],
  ] as const
) {
  Deno.test(`hostile: a client that asks and never reads is cut off: ${what}`, async () => {
    const reports: PatchbayError[] = [];
    const { hub, url } = await hubAt(PATIENT, reports);
    await using _ = hub;
    await settled("the end", askWithoutReading(url, message));
    await until("it to be reported", () => reports.some((error) => error.code === "overloaded"));
    assert.ok((counted(hub).errors.overloaded ?? 0) >= 1);
  });
}

Deno.test("hostile: who watches and never reads is cut off, though others cause what it is told", async () => {
  const reports: PatchbayError[] = [];
  const { hub, url } = await hubAt(PATIENT, reports);
  await using _ = hub;
  using client = await RawClient.open(url);
  await client.write(text({ type: "hello", module: "evil" }));
  await client.until("hello-ack");
  await client.write(text({ type: "find", id: 1, pattern: "callable", address: "far/x" }));
  await client.until("presence");
  await using far = await bay("far", { url });
  for (let n = 0; reports.length === 0; n++) {
    assert.ok(n < 100_000, "the hub goes on telling a client that never reads");
    await (await far.serve("far/x", () => 0)).close();
  }
  assert.equal(reports[0].code, "overloaded");
});

for (const perMessageDeflate of [false, true]) {
  const kind = perMessageDeflate ? "npm:ws" : "our server";

  Deno.test(`hostile: of who has shown no token no more than 64 KiB is read (${kind})`, async () => {
    const reports: PatchbayError[] = [];
    const config = {
      token: "open sesame",
      connectTimeoutMs: 1000,
      listen: { perMessageDeflate, port: 0 },
    };
    const { hub, url } = await hubAt(config, reports);
    await using _ = hub;
    await hub.serve("hub/echo", (v) => v);
    const large = masked(0x81, new Uint8Array(15_000_000).fill(0x20));
    // Announced at once, or in pieces.
    const piece = masked(0x00, new Uint8Array(1000));
    const pieces = joined(masked(0x01, "{"), ...Array.from({ length: 15_000 }, () => piece));
    for (const bytes of [large, pieces]) {
      using stranger = await RawClient.open(url);
      const writing = stranger.write(bytes);
      // Ours says so at once, and looks at nothing more; the library's leaves it with the peer.
      if (!perMessageDeflate) await stranger.until("bytes before it was let in");
      const taken = await settled("the end", writing);
      if (perMessageDeflate) assert.equal(taken, false, "all of it was taken");
    }
    await until("it to be told", () => reports.length === 2);
    // A client that does not wait for its hello-ack loses nothing.
    const value = "z".repeat(1_000_000);
    const hello = text({ type: "hello", credentials: "open sesame" });
    for (const early of [1, 60_000, 1_000_000]) {
      using eager = await RawClient.open(url);
      const ask = { type: "request", id: 1, address: "hub/echo", value: value.slice(0, early) };
      void eager.write(joined(hello, text(ask), text({ ...ask, id: 2, value: 7 })));
      await eager.until('"id":2,"value":7');
    }
    assert.equal(reports.length, 2);
  });
}

Deno.test("hostile: nothing that a stranger sends is unfolded before it has shown its token", async () => {
  const reports: PatchbayError[] = [];
  const listen = { perMessageDeflate: true, port: 0 };
  const { hub, url } = await hubAt({ token: "open sesame", listen }, reports);
  await using _ = hub;
  const deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover";
  const open = (...more: string[]) => RawClient.open(url, undefined, [deflate, ...more]);
  const hello = (spaces: number) => {
    const bytes = new TextEncoder().encode(" ".repeat(spaces) + JSON.stringify({ type: "hello" }));
    return masked(0xc1, deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }));
  };
  // 16 KB, which would be a text of 16 MB.
  const large = hello(16_000_000);
  assert.ok(large.length < 32_000);
  using stranger = await open();
  assert.doesNotMatch(stranger.head, /permessage-deflate/i, "agreed on with a stranger");
  await stranger.write(large);
  await stranger.end();
  // With who has shown it, it is agreed on.
  using known = await open("Authorization: Bearer open sesame");
  assert.match(known.head, /Sec-WebSocket-Extensions: permessage-deflate/i);
  await known.write(hello(10_000));
  await known.until("hello-ack");
});

Deno.test("hub: who asks after too many addresses is told that it will not hear of them", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await hub.serve("hub/x", () => 0);
  await using client = await JsonClient.open(url);
  const find = (id: number, address: string) => (
    { type: "find", id, pattern: "callable", address }
  );
  for (let id = 1; id <= 16_384; id++) {
    client.say(find(id, `a/n${id}`));
    if (id % 256 > 0) continue;
    await client.next("presence", id);
    client.unread.length = 0;
  }
  const { error } = await client.ask(find(1, "hub/x"), "error") as unknown as {
    error: { code: string; remedy: string };
  };
  assert.equal(error.code, "overloaded");
  assert.match(error.remedy, /over another connection/);
  // What it has asked after before is told as ever.
  assert.equal((await client.ask(find(2, "a/n7"), "presence")).found, false);
  await hub.serve("a/n7", () => 0);
  assert.equal((await client.next("presence", 0)).found, true);
  assert.equal(counted(hub).errors.overloaded, 1);
});

Deno.test("hub: a bay that asks after too many addresses hears it, and believes nothing old", async () => {
  const reports: PatchbayError[] = [];
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using near = await bay("near", { url }, reports);
  for (let n = 0; n < 16_384; n += 512) {
    const asked = Array.from({ length: 512 }, (_, i) => near.call(`a/n${n + i}`, 0));
    for (const one of asked) await refused(one, "not_found");
  }
  assert.equal(reports.length, 0);
  for (let n = 0; n < 2; n++) {
    const served = await hub.serve("hub/x", () => 0);
    assert.equal(await near.call("hub/x", 0), 0);
    await served.close();
    const { message } = await refused(near.call("hub/x", 0), "not_found");
    assert.match(message, /no wire leads there/);
  }
  assert.deepEqual(reports.map((error) => error.code), ["overloaded"]);
});

/** A bay whose transport the test has in hand. */
async function transportAt(url: string, reports: PatchbayError[] = []) {
  const { promise, resolve } = Promise.withResolvers<Transport>();
  const parts = denoParts();
  const plugin = createWebSocket({
    ...parts,
    hub: {
      ...parts.hub!,
      transport: async (...args) => {
        const made = await hubTransport(...args);
        resolve(made);
        return made;
      },
    },
  });
  const near = await open({
    module: "near",
    plugins: [plugin],
    config: { websocket: { url } },
    onReport: (error) => void reports.push(error),
  });
  return { near, transport: await promise };
}

Deno.test("hub: who watches too many patterns is refused those, and nothing else", async () => {
  const reports: PatchbayError[] = [];
  const { hub, url } = await hubAt();
  await using _ = hub;
  await hub.serve("hub/x", () => 0);
  const { near, transport } = await transportAt(url, reports);
  await using __ = near;
  const watch = (match: string) => transport.watch?.(match, () => {}) as Promise<Watching>;
  const watching = [];
  for (let n = 0; n < 256; n++) watching.push(await watch(`a/n${n}`));
  const error = await refused(watch("hub/**"), "overloaded");
  assert.match(error.remedy ?? "", /fewer/);
  assert.equal(counted(hub).errors.overloaded, 1);
  watching[0].close();
  const other = await watch("hub/**");
  assert.equal(other.offers.length, 1);
  assert.equal(reports.length, 1);
  assert.equal(await near.call("hub/x", 0), 0);
});

Deno.test("hub: who watches sees what becomes of each address, of many offers the first", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  const { near, transport } = await transportAt(url);
  await using __ = near;
  const watching = await transport.watch?.("far/**", () => {}) as Watching;
  const seen = () => watching.offers.map(({ pattern, by }) => `${pattern} ${by}`).sort();
  const client = await JsonClient.open(url, { id: ID });
  for (let id = 1; id <= 40; id++) {
    const offer = { type: "register", id, pattern: "callable", address: "far/x", shared: true };
    await client.ask(offer, "register-ack");
  }
  await until("as many as are told", () => watching.offers.length === 16);
  const far = await hub.speaker("far/x");
  await until("the hub's own", () => seen().includes(`speaker ${hub.identity.id}`));
  assert.equal(watching.offers.length, 17);
  for (let id = 1; id <= 39; id++) {
    const offer = { type: "unregister", id, pattern: "callable", address: "far/x" };
    await client.ask(offer, "register-ack");
  }
  await until("the last of the client", () => watching.offers.length === 2);
  assert.deepEqual(seen(), [`callable ${ID}`, `speaker ${hub.identity.id}`]);
  await far.close();
  await client.close();
  await until("nobody", () => watching.offers.length === 0);
});
