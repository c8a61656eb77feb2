import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import bus, { BusComm } from "@patchbay/bus";
import { ButtonState, frames } from "./frames/frames.ts";

const module = (name: string, url: string) =>
  new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-net=127.0.0.1",
      "--allow-env=PATCHBAY_BUS,PATCHBAY_BUS_TOKEN",
      fileURLToPath(new URL(`${name}/main.ts`, import.meta.url)),
    ],
    env: { PATCHBAY_BUS: url, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();

Deno.test("modules: pressing the button lights the led, by three processes and a manager", async () => {
  await using manager = await open({
    module: "manager",
    plugins: [bus],
    config: { bus: { listen: { port: 0 } } },
  });
  const [url] = manager.transport(bus).where;
  const led = module("led", url);
  const controller = module("controller", url);
  await using button = await BusComm.open({ module: "button", frames, url });
  const lines = led.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  let text = "";
  const shows = async (wanted: string, pressed: boolean) => {
    while (!text.includes(wanted)) {
      // Until both modules are there, nobody hears it.
      const timer = setInterval(() => void button.send(new ButtonState({ pressed })), 20);
      try {
        text += (await lines.next()).value ?? assert.fail("the led has ended");
      } finally {
        clearInterval(timer);
      }
    }
  };
  try {
    await shows("led: ● on", true);
    await shows("led: ○ off", false);
    await shows("led: ● on", true);
  } finally {
    led.kill("SIGTERM");
    controller.kill("SIGTERM");
  }
  const codes = [await led.status, await controller.status].map(({ code }) => code);
  for (let next = await lines.next(); !next.done; next = await lines.next()) text += next.value;
  await controller.stdout.cancel();
  assert.deepEqual(codes, [0, 0]);
  assert.match(text, /off\n$/, "a light that is stopped is dark");
});
