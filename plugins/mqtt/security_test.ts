/**
 * Who may come in, and over what: TLS, client certificates, users, ACLs, WebSockets.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import type { MqttConfig } from "./config.ts";
import mqtt from "./mod.ts";
import { requireOrIgnore } from "../../tests/require.ts";
import { probeMosquitto } from "./mosquitto_fixture.ts";
import { type Place, testsWith, until } from "./testdata/places.ts";

const need = await requireOrIgnore(
  "mqtt",
  probeMosquitto,
  "apt-get install mosquitto mosquitto-clients",
);
const test = testsWith(need);

/** Certificates for tests; each plugin's tests may use them. */
const file = (name: string) =>
  fileURLToPath(new URL(`../websocket/testdata/certs/${name}`, import.meta.url));
const CA = file("own-ca.pem");
const CLIENT = { cert: file("client.pem"), key: file("client.key") };
const STRANGER = { cert: file("stranger.pem"), key: file("stranger.key") };
const TLS = [`cafile ${CA}`, `certfile ${file("server.pem")}`, `keyfile ${file("server.key")}`];

/** Two bays talk. */
async function talk({ bay }: Place, config: Partial<MqttConfig>): Promise<void> {
  const far = await bay("far", config);
  assert.deepEqual(far.wires().map(({ open, reason }) => [open, reason]), [[true, undefined]]);
  const near = await bay("near", config);
  await far.serve("far/echo", (value) => value);
  assert.deepEqual(await near.call("far/echo", { x: 1 }), { x: 1 });
  const heard = Promise.withResolvers<unknown>();
  await near.listen("far/tick", (value) => heard.resolve(value));
  const speaker = await far.speaker("far/tick");
  await speaker.shout("tick");
  assert.equal(await heard.promise, "tick");
  await near.close();
  await far.close();
}

/** The reason why a wire is not open. */
async function refusal(port: number, config: Partial<MqttConfig>) {
  await using bay = await open({
    module: "stranger",
    plugins: [mqtt],
    config: { mqtt: { ...(port === 0 ? {} : { port }), ...config } },
  });
  const [{ open: isOpen, reason = "", remedy = "" }] = bay.wires();
  assert.equal(isOpen, false, "the wire is open");
  return { reason, remedy };
}

test(
  "TLS with an authority of one's own; without it, or with another one, nothing is trusted",
  async (place) => {
    const { port } = place.broker;
    await talk(place, { protocol: "mqtts", ca: CA });
    await talk(place, { url: `mqtts://localhost:${port}`, ca: await Deno.readTextFile(CA) });
    for (const ca of [undefined, file("other-ca.pem")]) {
      const { reason, remedy } = await refusal(port, { protocol: "mqtts", ca });
      assert.match(reason, /cannot be trusted: .*(certificate|issuer)/i);
      assert.match(remedy, /config\.mqtt\.ca/);
    }
  },
  { listener: TLS },
);

test("verification is switched off by name only, and each start is warned of", async (place) => {
  const warnings: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => void warnings.push(text);
  try {
    await talk(place, { protocol: "mqtts", insecureSkipTlsVerification: true });
  } finally {
    console.warn = warn;
  }
  assert.equal(warnings.length, 2, "one for each bay");
  assert.match(warnings[0], /is not verified \(config\.mqtt\.insecureSkipTlsVerification\)/);
}, { listener: TLS });

test("a client certificate opens; none, or one of another authority, does not", async (place) => {
  const { port } = place.broker;
  await talk(place, { protocol: "mqtts", ca: CA, ...CLIENT });
  for (const pair of [{}, STRANGER]) {
    const { reason } = await refusal(port, { protocol: "mqtts", ca: CA, ...pair });
    assert.match(reason, /cannot be (trusted|reached)/);
  }
}, { listener: [...TLS, "require_certificate true"] });

test("ws://", async (place) => {
  await talk(place, { url: `ws://127.0.0.1:${place.broker.websocketPort}/mqtt` });
}, { websocket: [] });

test("wss://", async (place) => {
  const url = `wss://127.0.0.1:${place.broker.websocketPort}/mqtt`;
  await talk(place, { url, ca: CA });
  const { reason } = await refusal(0, { url });
  assert.match(reason, /cannot be trusted/);
}, { websocket: TLS });

/** A file of users for mosquitto. */
async function passwords(...users: readonly string[]): Promise<string> {
  const path = await Deno.makeTempFile({ prefix: "pb-mosquitto-" });
  try {
    for (const user of users) {
      const { success } = await new Deno.Command("mosquitto_passwd", {
        args: ["-b", path, user, "sesame"],
        stdout: "null",
        stderr: "null",
      }).output();
      if (!success) throw new Error("mosquitto_passwd failed");
    }
    return await Deno.readTextFile(path);
  } finally {
    await Deno.remove(path);
  }
}

const ACL = `
user arm
topic readwrite patchbay/#

user mute
topic read patchbay/#
topic readwrite patchbay/bay/#
topic readwrite patchbay/to/#

user deaf
topic write patchbay/#
`;

test("users and passwords; a wrong one is told at once, in both versions", async (place) => {
  const { broker } = place;
  await Deno.writeTextFile(`${broker.folder}/users`, await passwords("arm", "mute", "deaf"));
  await Deno.writeTextFile(`${broker.folder}/acl`, ACL);
  await Deno.writeTextFile(
    `${broker.folder}/mosquitto.conf`,
    (await Deno.readTextFile(`${broker.folder}/mosquitto.conf`))
      .replace("allow_anonymous true", "allow_anonymous false")
      .replace(
        "user root",
        `user root\npassword_file ${broker.folder}/users\n` +
          `acl_file ${broker.folder}/acl`,
      ),
  );
  await broker.kill();
  await broker.restart();
  const { port } = broker;
  await talk(place, { username: "arm", password: "sesame" });
  await talk(place, { url: `mqtt://arm:sesame@127.0.0.1:${port}`, version: "3.1.1" });
  for (const version of ["5", "3.1.1"] as const) {
    for (const who of [{ username: "arm", password: "wrong" }, { username: "nobody" }, {}]) {
      const { reason, remedy } = await refusal(port, { version, ...who });
      assert.match(reason, /refuses this bay: (the user or the password|it does not let)/);
      assert.match(remedy, /config\.mqtt\.username and password/);
    }
  }
  // What the ACL forbids is told by name.
  const { reason, remedy } = await refusal(port, { username: "deaf", password: "sesame" });
  assert.match(reason, /does not (allow it|give back)/);
  assert.match(remedy, /ACL/);
  const mute = await place.bay("mute", { username: "mute", password: "sesame" });
  const far = await place.bay("far", { username: "arm", password: "sesame" });
  await far.serve("far/echo", (value) => value);
  await assert.rejects(mute.call("far/echo", 1), { code: "forbidden" });
  const speaker = await mute.speaker("mute/tick");
  await speaker.shout(1);
  await until("the refusal to be reported", () => place.reports.length > 0);
  assert.equal(place.reports[0].code, "forbidden");
  assert.match(place.reports[0].message, /mute\/tick/);
});

test("a password that is changed while a bay runs shows as degraded, with the reason", async (place) => {
  const { broker } = place;
  const users = `${broker.folder}/users`;
  const configuration = `${broker.folder}/mosquitto.conf`;
  const text = await Deno.readTextFile(configuration);
  await Deno.writeTextFile(
    configuration,
    text.replace("allow_anonymous true", "allow_anonymous false")
      .replace("user root", `user root\npassword_file ${users}`),
  );
  const restart = async (user: string) => {
    await broker.kill();
    await Deno.writeTextFile(users, await passwords(user));
    await broker.restart();
  };
  await restart("arm");
  const bay = await place.bay("arm", { username: "arm", password: "sesame" });
  await restart("somebody");
  await until("it to say why", () => {
    const [{ health }] = bay.wires();
    return health?.status === "degraded" &&
      /refuses this bay: (the user or the password|it does not let)/.test(health.reason ?? "");
  });
  await restart("arm");
  await until("it to be back", () => bay.wires()[0].health?.status === "healthy");
});

test("a configuration that cannot be meant is refused, and says what to do", async ({ broker }) => {
  const { port } = broker;
  const cases: readonly (readonly [Partial<MqttConfig>, RegExp])[] = [
    [{ ca: CA }, /not encrypted/],
    [{ protocol: "mqtts", cert: CLIENT.cert }, /needs `cert` and `key`/],
    [{ prefix: "a/#" }, /prefix/],
    [{ atLeastOnce: ["a//b"] }, /atLeastOnce/],
    [{ url: "http://127.0.0.1" }, /none of MQTT/],
    [{ url: "mqtt://me:100%@127.0.0.1" }, /none of MQTT/],
    [{ broker: "embedded", version: "5" }, /3\.1\.1 only/],
    [{ broker: "embedded", protocol: "wss" }, /does not speak wss/],
    [{ will: { topic: "a/+", payload: "" } }, /wildcard/],
    [{ group: "a b" }, /group/],
  ];
  for (const [config, expected] of cases) {
    assert.match((await refusal(port, config)).reason, expected);
  }
});
