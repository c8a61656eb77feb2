/**
 * Who may come in, and over what: TLS, client certificates, ACL users, passwords, databases, Unix
 * sockets.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Bay, open, type OpenOptions, PatchbayError } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import { Broker, type BrokerOptions, probeRedis } from "./redis_fixture.ts";
import { type Authority, makeAuthority, probeOpenssl } from "./certificates.ts";
import type { RedisConfig } from "./config.ts";
import redis from "./mod.ts";

const need = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server redis-tools");
const tls = await requireOrIgnore("openssl", probeOpenssl, "apt-get install openssl");

function openBay(
  module: string,
  config: Partial<RedisConfig>,
  more: Partial<OpenOptions> = {},
): Promise<Bay> {
  return open({ module, plugins: [redis], config: { redis: config }, ...more });
}

/** Two bays talk. */
async function talk(config: Partial<RedisConfig>): Promise<void> {
  await using far = await openBay("far", config);
  assert.deepEqual(far.wires().map(({ open, reason }) => [open, reason]), [[true, undefined]]);
  await using near = await openBay("near", config);
  await far.serve("far/echo", (value) => value);
  assert.deepEqual(await near.call("far/echo", { x: 1 }), { x: 1 });
  const heard = Promise.withResolvers<unknown>();
  await near.listen("far/tick", (value) => heard.resolve(value));
  const speaker = await far.speaker("far/tick");
  await speaker.shout("tick");
  assert.equal(await heard.promise, "tick");
}

/** The reason why a wire is not open. */
async function refusal(config: Partial<RedisConfig>): Promise<{ reason: string; remedy: string }> {
  await using bay = await openBay("stranger", config);
  const [{ open, reason = "", remedy = "" }] = bay.wires();
  assert.equal(open, false, "the wire is open");
  return { reason, remedy };
}

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!await check()) {
    if (performance.now() > endMs) throw new Error(`it did not come to that: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function test(title: string, run: () => Promise<void>, requirement = need): void {
  Deno.test({
    name: requirement.name(`redis: ${title}`),
    ignore: need.ignore || requirement.ignore,
    fn: run,
  });
}

test("a password, in the fields and in the URL; a wrong one is told at once", async () => {
  await using broker = await Broker.start({ lines: ["requirepass sesame"], password: "sesame" });
  const { port } = broker;
  await talk({ port, password: "sesame" });
  await talk({ url: `redis://:sesame@127.0.0.1:${port}/3` });
  for (const config of [{ password: "wrong" }, { username: "nobody", password: "sesame" }]) {
    const { reason, remedy } = await refusal({ port, ...config });
    assert.match(reason, /WRONGPASS/);
    assert.match(remedy, /config\.redis\.username and password/);
  }
  const { reason, remedy } = await refusal({ port });
  assert.match(reason, /NOAUTH/);
  assert.match(remedy, /config\.redis\.password/);
});

test("an ACL user may do what it was granted; the rest is forbidden, by name", async () => {
  const users = [
    "user default off",
    "user admin on >root ~* &* +@all",
    // To PSUBSCRIBE, a pattern must be granted literally: here it is all channels.
    "user arm on >secret ~patchbay:* allchannels +@all -@admin -@dangerous +info",
    "user mute on >secret ~patchbay:* &patchbay:* +@all -eval",
    "user deaf on >secret ~patchbay:* &other:* +@all",
  ];
  const files = { "users.acl": users.join("\n") + "\n" };
  const folder = await Deno.makeTempDir({ prefix: "pb-acl-" });
  try {
    await Deno.writeTextFile(`${folder}/users.acl`, files["users.acl"]);
    const options: BrokerOptions = {
      lines: [`aclfile ${folder}/users.acl`],
      user: "admin",
      password: "root",
    };
    await using broker = await Broker.start(options);
    const { port } = broker;
    await talk({ port, username: "arm", password: "secret" });
    const forbidden = await refusal({ port, username: "deaf", password: "secret" });
    assert.match(forbidden.reason, /NOPERM/);
    assert.match(forbidden.remedy, /ACL SETUSER/);
    const reports: PatchbayError[] = [];
    await using mute = await openBay("mute", { port, username: "mute", password: "secret" }, {
      onReport: (error) => reports.push(error),
    });
    await assert.rejects(mute.serve("mute/x", () => 1), { code: "forbidden", message: /NOPERM/ });
    // A pattern that was not granted literally; the second asks for what the first is waiting for.
    const deaf = await Promise.allSettled([
      mute.listen("a/*", () => {}),
      mute.listen("a/*", () => {}),
    ]);
    assert.deepEqual(
      deaf.map((each) => each.status === "rejected" && (each.reason as PatchbayError).code),
      ["forbidden", "forbidden"],
    );
    await using keys = await openBay("keys", { port, username: "arm", password: "secret" });
    await assert.rejects(keys.transport(redis).keys.get("elsewhere"), { code: "forbidden" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("an ACL user with its own channels alone, as the README grants them", async () => {
  const channels = "presence alive:* cancel:* shout:far/* shout:far/tick:*".split(" ")
    .map((each) => `&patchbay:${each}`).join(" ");
  const folder = await Deno.makeTempDir({ prefix: "pb-acl-" });
  try {
    const users = [
      "user default off",
      "user admin on >root ~* &* +@all",
      `user far on >secret ~patchbay:* ${channels} +@all -@admin -@dangerous +info`,
    ];
    await Deno.writeTextFile(`${folder}/users.acl`, users.join("\n") + "\n");
    await using broker = await Broker.start({
      lines: [`aclfile ${folder}/users.acl`],
      user: "admin",
      password: "root",
    });
    const config = { port: broker.port, username: "far", password: "secret" };
    await talk(config);
    await using bay = await openBay("bay", config);
    await assert.rejects(bay.listen("other/tick", () => {}), {
      code: "forbidden",
      message: /NOPERM/,
      remedy: /ACL SETUSER/,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("a password that is changed while a bay runs shows as degraded, with the reason", async () => {
  await using broker = await Broker.start({ lines: ["requirepass sesame"], password: "sesame" });
  await using bay = await openBay("near", {
    port: broker.port,
    password: "sesame",
    reconnectMinMs: 10,
    reconnectMaxMs: 50,
  });
  await bay.serve("near/echo", (value) => value);
  await using admin = await openBay("admin", { port: broker.port, password: "sesame" });
  const control = new AbortController();
  await admin.transport(redis).use(async (client) => {
    await client.config("SET", "requirepass", "other");
    await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await until("it to say why", () => {
      const [{ health }] = bay.wires();
      return health?.status === "degraded" && /WRONGPASS/.test(health.reason ?? "");
    });
    await client.config("SET", "requirepass", "sesame");
  }, control.signal);
  await until("it to be back", () => bay.wires()[0].health?.status === "healthy");
});

test("databases are apart, except for pub/sub; one that is not there is told at once", async () => {
  await using broker = await Broker.start({ lines: ["databases 4"] });
  const { port } = broker;
  await talk({ port, db: 2 });
  await using one = await openBay("one", { port, db: 1 });
  await using two = await openBay("two", { port, db: 2 });
  await one.serve("one/echo", (value) => value);
  await assert.rejects(two.call("one/echo", 1), { code: "not_found" });
  const { reason } = await refusal({ port, db: 4 });
  assert.match(reason, /DB index is out of range/);
});

test("a Unix socket", async () => {
  await using broker = await Broker.start();
  await talk({ path: broker.socket });
  const { reason } = await refusal({ path: `${broker.folder}/none.sock` });
  assert.match(reason, /none\.sock cannot be reached/);
});

async function withTls(run: (broker: Broker, authority: Authority) => Promise<void>) {
  await using authority = await makeAuthority();
  const { ca, server } = authority;
  await using broker = await Broker.start({ tls: { ca, ...server } });
  await run(broker, authority);
}

test("TLS with a client's certificate, by file and by PEM text", async () => {
  await withTls(async ({ port }, { ca, client }) => {
    await talk({ port, tls: true, ca, ...client, serverName: "localhost" });
    const pem = {
      ca: await Deno.readTextFile(ca),
      cert: await Deno.readTextFile(client.cert),
      key: await Deno.readTextFile(client.key),
    };
    await talk({ url: `rediss://127.0.0.1:${port}`, ...pem, serverName: "localhost" });
  });
}, tls);

test("TLS: no certificate, one of another authority, and a server of another one", async () => {
  await withTls(async ({ port }, { ca, client }) => {
    await using other = await makeAuthority();
    const config = { port, tls: true, serverName: "localhost" };
    const none = await refusal({ ...config, ca });
    assert.match(none.reason, /certificate|handshake|closed|reset|alert/i);
    const stranger = await refusal({ ...config, ca, ...other.client });
    assert.match(stranger.reason, /certificate|handshake|closed|reset|alert/i);
    const impostor = await refusal({ ...config, ca: other.ca, ...client });
    assert.match(impostor.reason, /cannot be trusted/);
    assert.match(impostor.remedy, /config\.redis\.ca/);
    const misnamed = await refusal({ ...config, ca, ...client, serverName: "example.org" });
    assert.match(misnamed.reason, /cannot be trusted/);
    const missing = await refusal({ ...config, ca: "/none/ca.pem", ...client });
    assert.match(missing.reason, /config\.redis\.ca/);
  });
}, tls);

test(
  "TLS: verification is switched off only by its name, with a warning at each start",
  async () => {
    await withTls(async ({ port }, { client }) => {
      const warnings: string[] = [];
      const { warn } = console;
      console.warn = (text: string) => warnings.push(text);
      try {
        const insecureSkipTlsVerification = true;
        await talk({ port, tls: true, ...client, insecureSkipTlsVerification });
      } finally {
        console.warn = warn;
      }
      assert.equal(warnings.length, 2, "one for each bay");
      assert.match(warnings[0], /not verified \(config\.redis\.insecureSkipTlsVerification\)/);
    });
  },
  tls,
);

test("what is wrong with a configuration is told without a connection", async () => {
  const wrong: readonly (readonly [Partial<RedisConfig>, RegExp])[] = [
    [{}, /it is not configured/],
    [{ url: "http://user:sesame@host" }, /`url` is none of Redis/],
    [{ url: "redis://user:sesame%@host" }, /`url` is none of Redis/],
    [{ cluster: ["no port:x"] }, /`cluster`/],
    [{ cluster: ["a:1"], db: 3 }, /no database 3/],
    [{ cluster: ["a:1"], path: "/x" }, /neither sentinels nor a socket/],
    [{ port: 1, sharded: true }, /needs a cluster/],
    [{ port: 1, cert: "x" }, /needs `cert` and `key`/],
    [{ port: 1, ca: "x" }, /not encrypted/],
    [{ port: 1, prefix: "a*b" }, /`prefix`/],
    [{ port: 1, streams: ["A/B"] }, /`streams`/],
  ];
  for (const [config, expected] of wrong) {
    const { reason, remedy } = await refusal(config);
    assert.match(reason, expected);
    assert.ok(remedy !== "" && !reason.includes("sesame"));
  }
});
