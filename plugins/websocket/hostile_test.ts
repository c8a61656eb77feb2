/** What clients that mean harm come to. */

import assert from "node:assert/strict";
import { PatchbayError } from "@patchbay/core";
import { bay, hubAt, refused, settled, until } from "./testdata/places.ts";
import { JsonClient, type Message } from "./testdata/json_client.ts";
import { joined, masked, RawClient, text } from "./testdata/raw_client.ts";

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
