import { freePort } from "@patchbay/core/conformance";
import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import mqtt from "@patchbay/mqtt";
import { fileURLToPath } from "node:url";
import { Place, values } from "./testdata/harness.ts";

const cwd = fileURLToPath(new URL("..", import.meta.url));

Deno.test("broker: bays meet at it, a taken port is said, and it ends on SIGTERM", async () => {
  await using place = new Place();
  const port = freePort();
  const broker = place.start(["broker", "--port", String(port), "--json"], { cwd });
  await broker.says(/"ready"/);
  {
    const options = { plugins: [mqtt], config: { mqtt: { port } } };
    await using far = await open({ module: "far", ...options });
    await using near = await open({ module: "near", ...options });
    await far.serve("far/echo", (value) => value);
    assert.equal(await near.call("far/echo", 1), 1);
    assert.equal(near.transport(mqtt).version, "3.1.1");
    const { stderr, code } = await place.patchbay(["broker", "--port", String(port)], { cwd });
    assert.equal(code, 1);
    assert.match(stderr, /something listens there already/);
  }
  broker.signal("SIGTERM");
  const { code, stdout } = await broker.ended;
  assert.equal(code, 0);
  assert.equal(values(stdout)[0].url, `mqtt://127.0.0.1:${port}`);
});

Deno.test("doctor: tells the limits of the embedded broker", async () => {
  await using place = new Place();
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  try {
    const file = `${folder}/patchbay.json`;
    await Deno.writeTextFile(file, '{"wires":{"mqtt":{"broker":"embedded"}}}');
    const args = ["doctor", "mqtt", "--config", file];
    const { stdout, code } = await place.patchbay(args, { cwd });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /MQTT 3\.1\.1 only, no TLS, no passwords/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
