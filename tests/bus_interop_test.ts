/** Modules in Python and in C, written from docs/bus_protocol.md, on a real bus. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import bus, { BusComm, Priority } from "@patchbay/bus";
import { ButtonState, frames, FrameType, Text } from "../modules/frames/frames.ts";
import { requireOrIgnore } from "./require.ts";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const FRAMES = path("../modules/frames");

const runs = (command: string) => async () =>
  (await new Deno.Command(command, { args: ["--version"] }).output()).success;
const python = await requireOrIgnore("python3", runs("python3"), "apt-get install python3");
const gcc = await requireOrIgnore("gcc", runs("gcc"), "apt-get install gcc libc6-dev");

async function manager() {
  const bay = await open({
    module: "manager",
    plugins: [bus],
    config: { bus: { listen: { port: 0 } } },
  });
  const [url] = bay.transport(bus).where;
  return { bay, url, port: new URL(url.replace("tcp", "http")).port };
}

/** Talks with a module in another language. */
async function converse(name: string, command: string, args: (port: string) => string[]) {
  const { bay, url, port } = await manager();
  await using _bay = bay;
  await using comm = await BusComm.open({ module: "tester", frames, url });
  await comm.listenFor([FrameType.TEXT]);
  const child = new Deno.Command(command, { args: args(port), stdout: "piped" }).spawn();
  const said = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await said.read()).value?.trim(), "ready");
  await comm.send(new Text({ text: "hello" }));
  const heard = comm[Symbol.asyncIterator]();
  const { value: answer } = await heard.next();
  assert.equal(answer.as(Text)?.text, `${name}: 5`);
  // Many, so that its credit must be returned more than once.
  for (let i = 0; i < 2000; i++) {
    await comm.send(new Text({ text: "x".repeat(199) }));
    assert.equal((await heard.next()).value.as(Text)?.text, `${name}: 199`);
  }
  const pressed = await comm.ask(ButtonState, { timeoutMs: 10_000, priority: Priority.HIGH });
  assert.equal(pressed.pressed, true);
  await comm.send(new Text({ text: "bye" }));
  assert.equal((await child.status).code, 0);
  await said.cancel();
}

Deno.test({
  name: python.name("bus: a module in Python"),
  ignore: python.ignore,
  fn: () =>
    converse("python", "python3", (port) => [
      "-B",
      path("interop/bus/bus_module.py"),
      "127.0.0.1",
      port,
      FRAMES,
    ]),
});

async function compiled(use: (program: string) => Promise<void>) {
  const out = await Deno.makeTempDir({ prefix: "pb-" });
  try {
    const { success, stderr } = await new Deno.Command("gcc", {
      args: [
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        `-I${FRAMES}`,
        path("interop/bus/bus_module.c"),
        "-o",
        `${out}/bus_module`,
      ],
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    await use(`${out}/bus_module`);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

Deno.test({
  name: gcc.name("bus: a module in C"),
  ignore: gcc.ignore,
  fn: () => compiled((program) => converse("c", program, (port) => ["127.0.0.1", port])),
});

Deno.test({
  name: python.name("bus: a module in Python whose definitions differ is told where"),
  ignore: python.ignore,
  async fn() {
    const { bay, url, port } = await manager();
    await using _bay = bay;
    await using comm = await BusComm.open({ module: "tester", frames, url });
    await comm.listenFor([FrameType.TEXT]);
    const folder = await Deno.makeTempDir({ prefix: "pb-" });
    try {
      const text = await Deno.readTextFile(`${FRAMES}/frames.py`);
      const other = text.replace(`"${frames.fingerprint}"`, '"another"').replace(
        `LAYOUT = "${Text.layout}"`,
        'LAYOUT = "0123456789abcdef"',
      );
      await Deno.writeTextFile(`${folder}/frames.py`, other);
      const { success, stderr } = await new Deno.Command("python3", {
        args: ["-B", path("interop/bus/bus_module.py"), "127.0.0.1", port, folder],
      }).output();
      assert.equal(success, false);
      assert.match(
        new TextDecoder().decode(stderr),
        /the frame definitions of snake differ .* TEXT has another layout there/,
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
