import { freePort } from "@patchbay/core/conformance";
import assert from "node:assert/strict";
import { open } from "@patchbay/core";
import bus, { BusComm } from "@patchbay/bus";
import { frames, Text } from "@patchbay/bus/example";
import { fileURLToPath } from "node:url";
import { Place, values } from "./testdata/harness.ts";

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

Deno.test("bus: a taken port is said, and by whom it is taken", async () => {
  await using place = new Place();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const { stderr, code } = await place.patchbay(["bus", "--port", String(port)], { cwd });
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`is taken by the process ${Deno.pid} \\(deno\\)`));
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
