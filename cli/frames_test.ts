import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { freePort } from "@patchbay/core/conformance";
import { BusComm, type ModuleView } from "@patchbay/bus";
import {
  ButtonState,
  Distance,
  frames,
  FrameType,
  LedState,
} from "../plugins/bus/testdata/frames.ts";
import { Place, values } from "./testdata/harness.ts";

const cwd = fileURLToPath(new URL("..", import.meta.url));
const DEFINITIONS = "plugins/bus/testdata/frames";

/** A manager, and a module on its bus. */
async function begin(place: Place) {
  const port = freePort();
  const url = `tcp://127.0.0.1:${port}`;
  const manager = place.start(["bus", "--port", String(port), "--json"], { cwd });
  await manager.says(/"ready"/);
  return { url, comm: await BusComm.open({ module: "arm", frames, url }) };
}

/** Resolves when so many commands listen. */
async function listening(comm: BusComm, address: string, count: number): Promise<void> {
  for (const end = performance.now() + 30_000; performance.now() < end;) {
    const rows = await comm.bay.call<null, ModuleView[]>("bus/modules", null);
    const heard = rows.filter(({ name, hears }) =>
      name.startsWith("patchbay-cli") && hears.some(({ pattern }) => pattern === address)
    );
    if (heard.length >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${count} do not listen to ${address}`);
}

Deno.test("listen: frames are decoded by the definitions, whatever file they are in", async () => {
  await using place = new Place();
  const { url, comm } = await begin(place);
  await using _ = comm;
  await comm.send(new Distance());
  for (const file of [`${DEFINITIONS}.ts`, `${DEFINITIONS}.yaml`, `${DEFINITIONS}.hpp`]) {
    const args = ["listen", "frame:DISTANCE", "-n", "2", "--url", url, "--frames", file];
    const json = place.start([...args, "--json"], { cwd });
    const text = place.start(args, { cwd, env: { NO_COLOR: "1" } });
    await listening(comm, "frame/distance", 2);
    await comm.send(new Distance({ mm: 1234 }));
    await comm.send(new ButtonState({ pressed: true }));
    await comm.request(Distance);
    const shown = values((await json.ended).stdout);
    assert.deepEqual(
      shown.map(({ address, frame, request, value }) => ({ address, frame, request, value })),
      [
        { address: "frame/distance", frame: "DISTANCE", request: false, value: { mm: 1234 } },
        { address: "frame/distance", frame: "DISTANCE", request: true, value: null },
      ],
    );
    assert.equal(shown[0].peer.module, "arm");
    assert.match(
      (await text.ended).stdout,
      /^DISTANCE #\d+ \{"mm": 1234\}\nDISTANCE #\d+ requested\n$/,
    );
  }
});

Deno.test("listen: frame:ALL shows every type by its name", async () => {
  await using place = new Place();
  const { url, comm } = await begin(place);
  await using _ = comm;
  const listener = place.start(["listen", "frame:ALL", "-n", "2", "--json"], {
    cwd,
    env: { PATCHBAY_FRAMES: `${DEFINITIONS}.ts`, PATCHBAY_BUS: url },
  });
  await listening(comm, "frame/*", 1);
  await comm.send(new Distance({ mm: 1 }));
  await comm.send(new ButtonState({ pressed: true }));
  const shown = values((await listener.ended).stdout);
  assert.deepEqual(shown.map(({ frame, value }) => [frame, value]), [
    ["DISTANCE", { mm: 1 }],
    ["BUTTON_STATE", { pressed: true }],
  ]);
});

Deno.test("shout: a frame is made of its fields; what it cannot hold is refused by name", async () => {
  await using place = new Place();
  const { url, comm } = await begin(place);
  await using _ = comm;
  const heard = Promise.withResolvers<LedState>();
  comm.onFrame((frame) => heard.resolve(frame.as(LedState)!));
  await comm.listenFor([FrameType.LED_STATE]);
  const frame = ["--url", url, "--frames", `${DEFINITIONS}.yaml`];
  const shout = (...args: string[]) => place.patchbay(["shout", ...args, ...frame], { cwd });
  const { code, stdout } = await shout("frame:LED_STATE", '{"state":true,"colour":103}');
  assert.equal(code, 0);
  assert.match(stdout, /shouted 1 × frame:LED_STATE.* to 1 listener/);
  assert.deepEqual(await heard.promise, new LedState({ state: true, colour: 103 }));
  for (
    const [type, fields, complaint] of [
      ["frame:NOTHING", "{}", /no frame type NOTHING.*definitions have BUTTON_STATE/],
      ["frame:LED_STATE", '{"on":true}', /LED_STATE has no field on.*it has state, colour/],
      ["frame:DISTANCE", '{"mm":70000}', /DISTANCE\.mm/],
      ["frame:DISTANCE", "5", /its fields are an object/],
    ] as const
  ) {
    const refused = await shout(type, fields);
    assert.equal(refused.code, 1, type);
    assert.match(refused.stderr, complaint);
  }
  const none = await place.patchbay(["listen", "frame:DISTANCE", "--url", url], { cwd });
  assert.match(none.stderr, /no frame definitions.*--frames/);
  const missing = ["listen", "frame:DISTANCE", "--url", url, "--frames", "nowhere.yaml"];
  assert.match((await place.patchbay(missing, { cwd })).stderr, /nowhere\.yaml cannot be read/);
});
