import assert from "node:assert/strict";
import { type Bay, Patchbay, PatchbayError } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import { hasOpenssl, makeAuthority } from "./certificates.ts";
import grpc, { parseProto, ServiceClient } from "./mod.ts";

const openssl = await requireOrIgnore("openssl", hasOpenssl, "apt-get install openssl");
const ours = openssl.ignore ? undefined : await makeAuthority();
const others = openssl.ignore ? undefined : await makeAuthority();

const PROTO = parseProto(`syntax = "proto3"; package t;
  message M { string text = 1; }
  service Echo { rpc Say(M) returns (M); }`);

function openBay(module: string, config: Record<string, unknown>): Promise<Bay<[typeof grpc]>> {
  return Patchbay.open({ module, plugins: [grpc], config: { grpc: config } });
}

async function refused(promise: Promise<unknown>, code: string, remedy: RegExp) {
  const error = await promise.then(() => assert.fail("it should fail"), (e) => e);
  assert.ok(error instanceof PatchbayError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.remedy ?? "", remedy, error.message);
  return error;
}

/** What is said on the console meanwhile. */
async function warned(work: () => Promise<void>): Promise<string[]> {
  const said: string[] = [];
  const before = console.warn;
  console.warn = (text: string) => said.push(text);
  try {
    await work();
  } finally {
    console.warn = before;
  }
  return said;
}

Deno.test({
  name: openssl.name(
    "tls: calls, shouts and jobs over TLS; a certificate of another authority is refused",
  ),
  ignore: openssl.ignore,
  fn: async () => {
    if (ours === undefined || others === undefined) return;
    const { cert, key } = ours.server;
    await using arm = await openBay("arm", { listen: { port: 0 }, tls: { cert, key } });
    await arm.serve("arm/echo", (value) => value);
    const tick = await arm.speaker<number>("arm/tick");
    await arm.perform("arm/work", async function* (n: number) {
      yield n;
      return await Promise.resolve(n * 2);
    });
    const { url } = arm.transport(grpc);
    assert.match(url, /^grpcs:/);
    await using desk = await openBay("desk", { peers: [url], tls: { ca: [ours.ca] } });
    assert.deepEqual(await desk.call("arm/echo", { big: "x".repeat(300_000) }), {
      big: "x".repeat(300_000),
    });
    const heard = Promise.withResolvers<number>();
    await desk.listen<number>("arm/tick", (n) => heard.resolve(n));
    await tick.shout(7);
    assert.equal(await heard.promise, 7);
    assert.equal(await (await desk.execute("arm/work", 4)).result, 8);

    await using stranger = await openBay("stranger", { peers: [url], tls: { ca: [others.ca] } });
    const refusal = await refused(stranger.call("arm/echo", 1), "not_found", /./);
    assert.match(JSON.stringify(refusal.toWire()), /tls\.ca|certificate/i);
    const target = url;
    const direct = ServiceClient.connect({ proto: PROTO, target, timeoutMs: 1000 });
    await refused(direct, "unavailable", /tls\.ca/);
    // Those who were let in are not disturbed.
    assert.equal(await desk.call("arm/echo", 2), 2);
  },
});

Deno.test({
  name: openssl.name(
    "mtls: who shows a certificate is known by its name, who shows none stays outside",
  ),
  ignore: openssl.ignore,
  fn: async () => {
    if (ours === undefined || others === undefined) return;
    const { cert, key } = ours.server;
    await using arm = await openBay("arm", {
      listen: { port: 0 },
      tls: { cert, key, clientCa: ours.ca },
    });
    await arm.serve("arm/who", (_, { peer }) => peer.identity ?? "nobody");
    const { url } = arm.transport(grpc);
    const known = {
      ca: [ours.ca],
      clientCert: ours.client.cert,
      clientKey: ours.client.key,
    };
    await using desk = await openBay("desk", { peers: [url], tls: known });
    assert.equal(await desk.call("arm/who", null), "desk");
    const wrong = { ca: [ours.ca], clientCert: others.client.cert, clientKey: others.client.key };
    for (const tls of [{ ca: [ours.ca] }, wrong]) {
      await using stranger = await openBay("stranger", { peers: [url], tls });
      await refused(stranger.call("arm/who", null), "not_found", /./);
    }
  },
});

Deno.test({
  name: openssl.name(
    "tls: verification is off only where the option says so, with a warning each start",
  ),
  ignore: openssl.ignore,
  fn: async () => {
    if (ours === undefined) return;
    const { cert, key } = ours.server;
    await using arm = await openBay("arm", { listen: { port: 0 }, tls: { cert, key } });
    await arm.serve("arm/echo", (value) => value);
    const peers = [arm.transport(grpc).url];
    const direct = await warned(async () => {
      await using _client = await ServiceClient.connect({
        proto: PROTO,
        target: peers,
        tls: { dangerouslyAcceptAnyCertificate: true },
      });
    });
    assert.match(direct.join(), /dangerouslyAcceptAnyCertificate/);
    for (let start = 0; start < 2; start++) {
      const said = await warned(async () => {
        await using desk = await openBay("desk", {
          peers,
          tls: { dangerouslyAcceptAnyCertificate: true },
        });
        assert.equal(await desk.call("arm/echo", 3), 3);
      });
      assert.deepEqual(said.length, 1, said.join());
      assert.match(said[0], /dangerouslyAcceptAnyCertificate/);
    }
  },
});

Deno.test({
  name: openssl.name(
    "tls: who has not proved yet who it is counts among the connections, and ends with the bay",
  ),
  ignore: openssl.ignore,
  fn: async () => {
    if (ours === undefined) return;
    const { cert, key } = ours.server;
    const reported: PatchbayError[] = [];
    const arm = await Patchbay.open({
      module: "arm",
      plugins: [grpc],
      config: { grpc: { listen: { port: 0 }, tls: { cert, key }, maxConnections: 2 } },
      onReport: (error) => reported.push(error),
    });
    const port = Number(arm.transport(grpc).url.split(":").at(-1));
    const silent: Deno.TcpConn[] = [];
    for (let n = 0; n < 5; n++) silent.push(await Deno.connect({ hostname: "127.0.0.1", port }));
    const ended = silent.map((one) => one.read(new Uint8Array(1)).then(() => {}, () => {}));
    // The server takes them as they come: two stay.
    await Promise.all(ended.slice(2));
    assert.equal(reported.filter(({ code }) => code === "overloaded").length, 1);
    const told = reported.length;
    await arm.close();
    // Nobody hears of the bay's own end as of a stranger's fault.
    assert.equal(reported.length, told);
    await Promise.all(ended);
    for (const one of silent) one.close();
  },
});

Deno.test("tokens: who has one is known by its name; without one nothing answers but a refusal", async () => {
  const tokens = { desk: "open sesame", panel: "other" };
  let arm!: Bay<[typeof grpc]>;
  const said = await warned(async () => {
    arm = await openBay("arm", { listen: { port: 0 }, tokens });
  });
  assert.match(said.join(), /tokens travel in clear/);
  await using _ = arm;
  await arm.serve("arm/who", (_, { peer }) => peer.identity ?? "nobody");
  await arm.transport(grpc).serveService({
    proto: PROTO,
    handlers: { Say: (m: { text: string }) => m },
  });
  const { url } = arm.transport(grpc);
  await using desk = await openBay("desk", { peers: [url], token: "open sesame" });
  assert.equal(await desk.call("arm/who", null), "desk");
  await using client = await ServiceClient.connect({ proto: PROTO, target: url });
  await refused(client.callMethod("Say", { text: "x" }), "unauthenticated", /token/);
  await using knows = await ServiceClient.connect({ proto: PROTO, target: url, token: "other" });
  assert.deepEqual(await knows.callMethod("Say", { text: "x" }), { text: "x" });
});

Deno.test("authorize: it is asked once for each connection, verb and address, services included", async () => {
  const asked: string[] = [];
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
    authorize: (peer, verb, address) => {
      asked.push(`${peer.module} ${verb} ${address}`);
      return !address.includes("secret") && address !== "t.Echo/Say";
    },
  });
  await arm.serve("arm/echo", (value) => value);
  await arm.serve("arm/secret", () => 1);
  await arm.transport(grpc).serveService({ proto: PROTO, handlers: { Say: () => ({}) } });
  const { url } = arm.transport(grpc);
  await using desk = await openBay("desk", { peers: [url] });
  for (const n of [1, 2, 3]) assert.equal(await desk.call("arm/echo", n), n);
  await refused(desk.call("arm/secret", 1), "forbidden", /|/);
  await using client = await ServiceClient.connect({ proto: PROTO, target: url });
  await refused(client.callMethod("Say", {}), "forbidden", /|/);
  assert.deepEqual(asked, ["desk call arm/echo", "desk call arm/secret", " call t.Echo/Say"]);
});

Deno.test("tokens: one that cannot be sent, or lets nobody in, is refused at open, and is not shown", async () => {
  const odd: Record<string, unknown>[] = [
    { token: "geheim\n" },
    { token: "geheimß" },
    { token: "" },
    { tokens: {} },
    { tokens: { desk: "" } },
    { tokens: { "": "geheim" } },
    { tokens: { desk: "geheim " } },
    { tokens: { desk: 5 } },
  ];
  for (const config of odd) {
    const answer = await grpc.available({ peers: [], listen: { port: 0 }, ...config } as never);
    assert.ok(!answer.available, JSON.stringify(config));
    assert.match(answer.remedy, /ASCII/);
    assert.doesNotMatch(JSON.stringify(answer), /geheim/);
  }
  const connecting = ServiceClient.connect({
    proto: PROTO,
    target: "unix:/none",
    token: "geheim\n",
  });
  const error = await refused(connecting, "invalid", /blank/);
  assert.doesNotMatch(error.message, /geheim/);
});

Deno.test("permissions: an address of IPv6 is named as Deno reads it", () => {
  const config = { listen: { hostname: "::1", port: 5 }, peers: ["grpc://[::1]:7"] } as never;
  const flags = grpc.permissions?.(config, { id: "", module: "arm", instance: "arm" });
  assert.deepEqual(flags?.slice(0, 2), ["--allow-net=[::1]:5", "--allow-net=[::1]:7"]);
});

Deno.test("permissions: what the plugin names is enough", async () => {
  const config = { peers: [], listen: { port: 0 } } as never;
  const identity = { id: "", module: "arm", instance: "arm" };
  const flags = (grpc.permissions?.(config, identity) ?? [])
    .map((flag) => flag === "--allow-net=127.0.0.1:0" ? "--allow-net=127.0.0.1" : flag);
  const program = new URL("./testdata/two_bays.ts", import.meta.url).href;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...flags, program],
  }).output();
  assert.equal(new TextDecoder().decode(stdout).trim(), "42", new TextDecoder().decode(stderr));
});
