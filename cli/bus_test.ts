import { freePort } from "@patchbay/core/conformance";
import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import bus, { BusComm, type ModuleView } from "@patchbay/bus";
import { frames, Text } from "@patchbay/bus/example";
import { fileURLToPath } from "node:url";
import { Display8x8Character, frames as robot } from "../plugins/bus/testdata/frames.ts";
import { Child, Place, values } from "./testdata/harness.ts";

const cwd = fileURLToPath(new URL("..", import.meta.url));

Deno.test("bus: says when it is ready, who comes and goes, and drains on SIGTERM", async () => {
  await using place = new Place();
  // A port of its own: what it prints can only be read when it has ended.
  const port = freePort();
  const where = [`tcp://127.0.0.1:${port}`];
  const manager = place.start(["bus", "--port", String(port), "--json"], { cwd });
  await manager.says(/"ready"/);
  {
    await using _led = await joined("led", where[0]);
    await manager.says(/"joined".*"led"/);
    const { stdout, code } = await place.patchbay([
      "bus",
      "top",
      "--url",
      where[0],
      "--once",
      "--json",
    ], { cwd });
    assert.equal(code, 0);
    const { modules } = JSON.parse(stdout);
    assert.deepEqual(modules.map(({ name }: { name: string }) => name), ["led"]);
    assert.equal(modules[0].pid, Deno.pid);
    assert.deepEqual(modules[0].hears.map(({ pattern }: { pattern: string }) => pattern), [
      "frame/text",
    ]);
  }
  {
    // It finds the manager by the environment, and by the configuration, as modules do.
    const config = `${place.folder}/patchbay.json`;
    await Deno.writeTextFile(config, JSON.stringify({ wires: { bus: { url: where[0] } } }));
    const ways: [string[], Record<string, string>][] = [
      [[], { PATCHBAY_BUS: where[0] }],
      [["--config", config], { PATCHBAY_BUS: "" }],
    ];
    for (const [args, env] of ways) {
      const top = ["bus", "top", "--once", "--json", ...args];
      const { stdout, stderr } = await place.patchbay(top, { cwd, env });
      assert.equal(values(stdout)[0]?.url, where[0], stderr);
    }
  }
  await manager.says(/"left".*"led"/);
  manager.signal("SIGTERM");
  const { code, stdout } = await manager.ended;
  assert.equal(code, 0);
  const [ready] = values(stdout);
  assert.deepEqual(ready.where, where);
});

Deno.test("bus: tells modules who comes and goes, and top how many frames each gets", async () => {
  await using place = new Place();
  const port = freePort();
  const url = `tcp://127.0.0.1:${port}`;
  const manager = place.start(["bus", "--port", String(port), "--json", "--unique"], { cwd });
  await manager.says(/"ready"/);
  await using watcher = await joined("watcher", url);
  const told: string[] = [];
  const gone = Promise.withResolvers<void>();
  await watcher.bay.listen<{ event: string; name: string }>("bus/attendance", (attendance) => {
    const { event, name } = attendance;
    told.push(`${event} ${name}`);
    if (told.at(-1) === "left led") gone.resolve();
  });
  {
    await using _led = await joined("led", url);
    const second = await BusComm.open({ module: "led", frames, url, onReport: () => {} });
    await using _ = second;
    await assert.rejects(second.listenFor([Text.type]), /a module led is on the bus already/);
  }
  await gone.promise;
  assert.deepEqual(told, ["joined led", "left led"]);

  const top = ["bus", "top", "--url", url, "--interval", "20", "--json"];
  const live = place.start(top, { cwd });
  await using sensor = await BusComm.open({ module: "sensor", frames, url });
  const timer = setInterval(() => void sensor.send(new Text({ text: "hello" })), 1);
  try {
    await live.says(/"name":"watcher"[^\n]*"waiting":0,"rateHz":[1-9]/);
  } finally {
    clearInterval(timer);
  }
  live.signal("SIGINT");
  assert.equal((await live.ended).code, 0);
});

Deno.test({
  name: "bus: told to stop, it still delivers what waits for a module that has fallen behind",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using place = new Place();
    const port = freePort();
    const url = `tcp://127.0.0.1:${port}`;
    const manager = place.start(["bus", "--port", String(port), "--json"], { cwd });
    await manager.says(/"ready"/);
    const program = fileURLToPath(
      new URL("../plugins/bus/testdata/counting_module.ts", import.meta.url),
    );
    await using counting = new Child(["run", "-A", program, url], { cwd });
    await counting.says(/ready/);
    await using camera = await BusComm.open({
      module: "camera",
      frames: robot,
      url,
      onReport: () => {},
    });
    const picture = new Display8x8Character({ characters: "x".repeat(240) });
    await camera.send(picture);
    counting.signal("SIGSTOP");
    // More than the window holds: the rest waits at the manager.
    const pictures = 4000;
    for (let n = 1; n < pictures; n++) {
      camera.send(picture);
      if (n % 1000 > 0) continue;
      // In one lane what is sent first comes first: it has them when it answers.
      await camera.bay.call("bus/modules", null, { timeoutMs: 60_000 });
    }
    const rows = await camera.bay.call<null, ModuleView[]>("bus/modules", null, {
      timeoutMs: 60_000,
    });
    const { hears } = rows.find(({ name }) => name === "counting")!;
    assert.ok(hears[0].waiting > 0, "nothing waits: this tests nothing");
    const top = await place.patchbay(["bus", "top", "--once", "--url", url], { cwd });
    assert.match(top.stdout, /^MODULE +PROCESS +SINCE +GETS +WAIT +DROPPED +LISTENS +SENDS$/m);
    assert.match(top.stdout, /^counting +\d+ +\d.* [1-9][\d.,]* ?k? +0 +DISPLAY_8X8_CHARACTER *$/m);
    assert.match(top.stdout, /^camera +\d+ +\d.* 0 +0 +DISPLAY_8X8_CHARACTER$/m);
    manager.signal("SIGTERM");
    counting.signal("SIGCONT");
    assert.equal((await manager.ended).code, 0);
    const { stdout } = await counting.ended;
    assert.equal(stdout, `ready\ncounted ${pictures}\n`);
  },
});

Deno.test("bus: a taken port is said, and by whom it is taken", async () => {
  await using place = new Place();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const { stderr, code } = await place.patchbay(["bus", "--port", String(port)], { cwd });
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`is taken by the process ${Deno.pid} \\(deno\\)`));
});

Deno.test("bus: listens on a Unix socket, and on the network with a token only", async () => {
  await using place = new Place();
  await Deno.chmod(place.folder, 0o700);
  const path = `${place.folder}/bus.sock`;
  const port = freePort();
  const both = ["bus", "--unix", path, "--port", String(port)];
  const manager = place.start([...both, "--token", "secret"], { cwd });
  await manager.says(/bus: ready at/);
  const token = "secret";
  for (const url of [`unix:${path}`, `tcp://127.0.0.1:${port}`]) {
    await using led = await BusComm.open({ module: "led", frames, url, token });
    await led.listenFor([Text.type]);
    await using stranger = await BusComm.open({ module: "no", frames, url, onReport: () => {} });
    await assert.rejects(stranger.listenFor([Text.type]), { code: "unauthenticated" });
  }
  const second = await place.patchbay(["bus", "--unix", path], { cwd });
  assert.deepEqual([second.code, second.stdout], [1, ""]);
  assert.match(second.stderr, /a live process listens on .*bus\.sock/);
  manager.signal("SIGTERM");
  const { code, stdout } = await manager.ended;
  assert.equal(code, 0);
  assert.match(
    stdout,
    new RegExp(`^bus: ready at tcp://127\\.0\\.0\\.1:${port} and unix:${path}\\n`),
  );
  const lost = await place.patchbay(["bus", "--unix", `${place.folder}/no/bus.sock`], { cwd });
  assert.match(lost.stderr, /there is no folder .*\/no .* Try: make it: mkdir -m 700/);
  const open = await place.patchbay(["bus", "--host", "0.0.0.0"], {
    cwd,
    env: { PATCHBAY_BUS_TOKEN: "" },
  });
  assert.equal(open.code, 1);
  assert.match(open.stderr, /lets the network in, and there is no token.*--token/);
});

async function joined(module: string, url: string): Promise<BusComm> {
  const comm = await BusComm.open({ module, frames, url });
  await comm.listenFor([Text.type]);
  return comm;
}

Deno.test("bus: two modules of one name are numbered, or the second is refused", async () => {
  for (const sameName of ["number", "refuse"] as const) {
    await using manager = await open({
      module: "manager",
      plugins: [bus],
      config: { bus: { listen: { port: 0 }, sameName } },
    });
    const { where: [url] } = manager.transport(bus);
    await using _first = await joined("led", url);
    const second = await BusComm.open({ module: "led", frames, url, onReport: () => {} });
    await using _ = second;
    if (sameName === "number") {
      await second.listenFor([Text.type]);
      const names = manager.transport(bus).modules().map(({ name }) => name);
      assert.deepEqual(names, ["led", "led#2"]);
    } else {
      await assert.rejects(second.listenFor([Text.type]), /a module led is on the bus already/);
    }
  }
});
