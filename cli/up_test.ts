import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import bus from "@patchbay/bus";
import { Place, values } from "./testdata/harness.ts";

const cwd = fileURLToPath(new URL("..", import.meta.url));
const FLEET = "modules/fleet.yaml";

Deno.test("up: --check reads the file, and says what is wrong with it", async () => {
  await using place = new Place();
  const good = await place.patchbay(["up", FLEET, "--check"], { cwd });
  assert.deepEqual([good.code, good.stderr], [0, ""]);
  assert.match(good.stdout, /fleet\.yaml: led, controller, button\n$/);
  const path = `${place.folder}/fleet.yaml`;
  await Deno.writeTextFile(path, "modules: { led: { run: led, restrat: never } }\n");
  const bad = await place.patchbay(["up", path, "--check"], { cwd });
  assert.deepEqual([bad.code, bad.stdout], [1, ""]);
  assert.match(bad.stderr, /fleet\.yaml.*modules\.led\.restrat/);
});

Deno.test({
  name: "up: the trio works, the crashed is started again, and all stop in reverse order",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using place = new Place();
    await using manager = await open({
      module: "manager",
      plugins: [bus],
      config: { bus: { listen: { port: 0 } } },
    });
    const [url] = manager.transport(bus).where;
    const fleet = place.start(["up", FLEET, "--json"], { cwd, env: { PATCHBAY_BUS: url } });
    const shown = '"event":"line","module":"led","stream":"stdout","line":"led: ●';
    // The button presses itself, as it has no terminal.
    await fleet.says(new RegExp(shown));
    const { pid } = manager.transport(bus).modules().find(({ name }) => name === "led")!;
    Deno.kill(pid!, "SIGKILL");
    await fleet.says(/"name":"led","state":"waiting"[^}]*"restarts":0[^}]*"lastEnd":"SIGKILL"/);
    await fleet.says(/"name":"led","state":"running"[^}]*"restarts":1/);
    // The others have gone on, and the new one hears them.
    await fleet.says(new RegExp(`"restarts":1[^]*${shown}`));
    fleet.signal("SIGTERM");
    const { code, stdout, stderr } = await fleet.ended;
    assert.deepEqual([code, stderr], [0, ""]);
    const states = values(stdout).filter(({ event }) => event === "state");
    assert.deepEqual(states.slice(-6).map(({ name, state }) => `${name} ${state}`), [
      "button stopping",
      "button ended",
      "controller stopping",
      "controller ended",
      "led stopping",
      "led ended",
    ]);
    assert.deepEqual(
      states.filter(({ restarts, name }) => restarts > 0 && name !== "led"),
      [],
      "only the crashed was started again",
    );
    assert.deepEqual(
      states.slice(-6).map(({ lastEnd }) => lastEnd).filter(Boolean).at(-1),
      "exit code 0",
    );
  },
});
