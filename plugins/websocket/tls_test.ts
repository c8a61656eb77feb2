import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { PatchbayError } from "@patchbay/core";
import { bay, counted, hubAt, refused, settled, until } from "./testdata/places.ts";
import { JsonClient } from "./testdata/json_client.ts";
import type { Handshake } from "./mod.ts";

const file = (name: string) => fileURLToPath(new URL(`testdata/certs/${name}`, import.meta.url));
const SERVER = { certFile: file("server.pem"), keyFile: file("server.key") };
const CA = { caFile: file("own-ca.pem") };
const CLIENT = { certFile: file("client.pem"), keyFile: file("client.key") };
const STRANGER = { certFile: file("stranger.pem"), keyFile: file("stranger.key") };
const MIB = 1024 * 1024;

for (const perMessageDeflate of [false, true]) {
  const kind = perMessageDeflate ? "npm:ws" : "our server";
  Deno.test(`tls: wss with an authority of one's own; without it nothing is trusted (${kind})`, async () => {
    const { hub, url } = await hubAt({ listen: { ...SERVER, perMessageDeflate } });
    await using _ = hub;
    assert.match(url, /^wss:/);
    await hub.serve("hub/echo", (v) => v);
    await using client = await bay("client", { url, tls: CA });
    assert.equal(await client.call("hub/echo", 1), 1);
    const large = new Uint8Array(3 * MIB).fill(7);
    assert.deepEqual(await client.call("hub/echo", large), large);
    // The certificate is for this name, too.
    await using named = await bay("named", { url: url.replace("127.0.0.1", "localhost"), tls: CA });
    assert.equal(await named.call("hub/echo", 2), 2);
    await using blind = await bay("blind", { url });
    const error = await refused(blind.call("hub/echo", 1), "not_found");
    assert.match(error.message, /certificate/i);
    await using plain = await bay("plain", { url: url.replace("wss:", "ws:") });
    await refused(plain.call("hub/echo", 1), "not_found");
  });
}

Deno.test("tls: without verification it works, and each start is warned of", async () => {
  const { hub, url } = await hubAt({ listen: { ...SERVER } });
  await using _ = hub;
  await hub.serve("hub/echo", (v) => v);
  const reports: PatchbayError[] = [];
  for (const times of [1, 2]) {
    const tls = { unsafelySkipVerification: true };
    await using client = await bay("client", { url, tls }, reports);
    assert.equal(await client.call("hub/echo", 1), 1);
    assert.equal(reports.length, times);
    assert.match(reports[times - 1].message, /not verified/);
    const large = new Uint8Array(3 * MIB).fill(7);
    assert.deepEqual(await client.call("hub/echo", large), large);
  }
});

Deno.test("tls: client certificates are asked for, verified, and say who it is", async () => {
  const seen: string[] = [];
  const { hub, url } = await hubAt({ listen: { ...SERVER, clientCaFile: CA.caFile } }, [], {
    authorize: (peer, verb, address) => {
      seen.push(`${peer.identity} ${verb} ${address}`);
      return true;
    },
  });
  await using _ = hub;
  await hub.serve("hub/who", (_v, { peer }) => peer.identity);
  await using client = await bay("client", { url, tls: { ...CA, ...CLIENT } });
  assert.equal(await client.call("hub/who", 1), "arm");
  assert.deepEqual(seen, ["arm call hub/who"]);
  // What is relayed carries it along.
  await client.serve("client/who", (_v, { peer }) => peer.identity ?? "nobody");
  await using second = await bay("second", { url, tls: { ...CA, ...CLIENT } });
  assert.equal(await second.call("client/who", 1), "arm");
  for (const tls of [CA, { ...CA, ...STRANGER }]) {
    await using wrong = await bay("wrong", { url, tls });
    await refused(wrong.call("hub/who", 1), "not_found");
  }
  await until("the refusals to be counted", () => (counted(hub).errors.unauthenticated ?? 0) >= 2);
  assert.equal(await client.call("hub/who", 1), "arm");
});

for (const perMessageDeflate of [false, true]) {
  const kind = perMessageDeflate ? "npm:ws" : "our server";
  Deno.test(`handshake: a hook says who a client is by headers and path (${kind})`, async () => {
    const reports: PatchbayError[] = [];
    const asked: Handshake[] = [];
    const { hub, url } = await hubAt({
      listen: { path: "/arm", perMessageDeflate },
      authenticate: async (handshake) => {
        asked.push(handshake);
        await Promise.resolve();
        const key = handshake.headers.get("x-api-key");
        if (key === "blocked") throw new PatchbayError("forbidden", "this key is blocked");
        if (key === "broken") throw new Error("secret of the inside");
        return key === null ? undefined : `holder of ${key}`;
      },
    }, reports);
    await using _ = hub;
    assert.ok(url.endsWith("/arm"));
    await hub.serve("hub/who", (_v, { peer }) => peer.identity);
    const headers = (key: string) => ({ "X-Api-Key": key });
    await using client = await bay("client", { url, headers: headers("k1") });
    assert.equal(await client.call("hub/who", 1), "holder of k1");
    assert.equal(asked[0].path, "/arm");
    assert.match(asked[0].remoteAddress, /127\.0\.0\.1/);
    await using blocked = await bay("blocked", { url, headers: headers("blocked") });
    await refused(blocked.listen("x/y", () => {}), "forbidden");
    await using broken = await bay("broken", { url, headers: headers("broken") });
    await refused(broken.listen("x/y", () => {}), "unauthenticated");
    assert.ok(reports.some((report) => report.message.includes("secret of the inside")));
    // Nobody vouches for this one, and there is no token.
    await using anonymous = await bay("anonymous", { url });
    await refused(anonymous.listen("x/y", () => {}), "unauthenticated");
    await using lost = await bay("lost", { url: url.replace("/arm", "/leg") });
    const error = await refused(lost.call("hub/who", 1), "not_found");
    assert.match(error.message, /404/);
    const { forbidden = 0, unauthenticated = 0, not_found = 0 } = counted(hub).errors;
    assert.ok(forbidden >= 1 && unauthenticated >= 2 && not_found >= 1);
  });

  Deno.test(`handshake: a page shows the token as a sub-protocol (${kind})`, async () => {
    const { hub, url } = await hubAt({ token: "öffne dich", listen: { perMessageDeflate } });
    await using _ = hub;
    await hub.serve("hub/echo", (v) => v);
    const shown = (token: string) => {
      const bytes = new TextEncoder().encode(token);
      const text = btoa(String.fromCharCode(...bytes));
      const plain = text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
      return ["patchbay.json.v1", `patchbay.token.${plain}`];
    };
    const open = (protocols: string[]) => {
      const socket = new WebSocket(url, protocols);
      socket.onerror = (event) => event.preventDefault();
      return new Promise<string>((resolve) => {
        socket.onopen = () => socket.send('{"type":"hello"}');
        socket.onmessage = ({ data }) => {
          const { type } = JSON.parse(data);
          resolve(`${socket.protocol} ${type}`);
          socket.close();
        };
        socket.onclose = () => resolve("closed");
      });
    };
    assert.equal(await open(shown("öffne dich")), "patchbay.json.v1 hello-ack");
    assert.equal(await open(shown("öffne Dich")), "closed");
    assert.equal(await open(["patchbay.json.v1", "patchbay.token.%%%"]), "closed");
    await using client = await JsonClient.open(url, { credentials: "öffne dich" });
    const answer = await client.ask(
      { type: "request", id: 1, address: "hub/echo", value: 3 },
      "response",
    );
    assert.equal(answer.value, 3);
    await settled("the end", client.close());
  });
}
