import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { open } from "@patchbay/core";
import { freePort } from "@patchbay/core/conformance";
import bus from "@patchbay/bus";
import { Place, values } from "./testdata/harness.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const GREETER = join(ROOT, "cli/templates/module");

async function write(place: Place, name: string, text: string): Promise<string> {
  const path = join(place.folder, name);
  await Deno.writeTextFile(path, text);
  return path;
}

Deno.test("run: a module with its exact permissions, stopped cleanly by each signal", async () => {
  await using place = new Place();
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGQUIT", 131]] as const) {
    const child = place.start(["run", GREETER], { cwd: place.folder });
    await child.says(/my_module is ready/);
    const hello = await place.patchbay(["call", "my_module/greet", '{"name":"Ada"}']);
    assert.equal(hello.stdout, '"Hello Ada"\n', hello.stderr);
    child.signal(signal);
    const outcome = await child.ended;
    // The bay was closed: that is the exit code which host gives a module ended by a signal.
    assert.deepEqual([outcome.code, outcome.stderr], [code, ""]);
    assert.deepEqual(
      [...Deno.readDirSync(place.run)].filter(({ name }) => name.startsWith("my_module")),
      [],
    );
  }
});

Deno.test("run: --print-permissions prints the exact flags, and starts nothing", async () => {
  await using place = new Place();
  const { code, stdout } = await place.patchbay(["run", GREETER, "--print-permissions"]);
  assert.equal(code, 0);
  const flags = stdout.trim().split(" ");
  assert.ok(flags.includes(`--allow-net=unix:${place.run}/my_module.sock`), stdout);
  assert.ok(flags.includes("--allow-sys=uid") && !flags.includes("-A"), stdout);
  const peers = await place.patchbay(
    ["run", GREETER, "--print-permissions", "--json", "--module", "leg", "--peer", "arm,hand"],
  );
  const [{ module, flags: more }] = values(peers.stdout);
  assert.equal(module, "leg");
  const sockets = ["arm", "hand", "leg"].map((name) => `unix:${place.run}/${name}.sock`);
  assert.ok(more.includes(`--allow-net=${sockets.join(",")}`), more.join(" "));
});

Deno.test("run: a plugin's flags are those of this runtime directory and these peers", async () => {
  await using place = new Place();
  const mod = new URL("../plugins/shared_memory/mod.ts", import.meta.url).href;
  await Deno.mkdir(join(place.folder, "wires/shared_memory"), { recursive: true });
  await write(place, "wires/shared_memory/mod.ts", `export { default } from "${mod}";\n`);
  const config = await write(place, "patchbay.json", `{ "pluginDirectories": ["./wires"] }`);
  const asked = ["run", GREETER, "--config", config, "--peer", "arm", "--print-permissions"];
  const { stdout } = await place.patchbay([...asked, "--json"]);
  const [{ flags }] = values(stdout);
  const sockets = ["arm.shm", "arm", "my_module.shm", "my_module"]
    .map((name) => `unix:${place.run}/${name}.sock`);
  assert.ok(flags.includes("--allow-ffi"), stdout);
  assert.ok(flags.includes(`--allow-net=${sockets.join(",")}`), stdout);
  // Who wants another wire only is not given more than that needs.
  const { stdout: without } = await place.patchbay([...asked, "--via", "uds"]);
  assert.doesNotMatch(without, /ffi|shm/);
});

Deno.test("run: the name is read from the file, else it is the file's own", async () => {
  await using place = new Place();
  const texts: [name: string, text: string, module: string][] = [
    ["a.ts", `const bay = await Patchbay.open({\n  config: x,\n  module: "told",\n});`, "told"],
    ["b.ts", `export const module = "exported";`, "exported"],
    ["myLeg.ts", `await Patchbay.open();`, "my_leg"],
  ];
  for (const [name, text, module] of texts) {
    const path = await write(place, name, text);
    const { stdout } = await place.patchbay(["run", path, "--print-permissions", "--json"]);
    assert.equal(values(stdout)[0].module, module);
  }
});

Deno.test("run: arguments go in, the exit code comes out", async () => {
  await using place = new Place();
  const path = await write(place, "exits.ts", "console.log(Deno.args); Deno.exit(7);\n");
  const { code, stdout } = await place.patchbay(["run", path, "one", "--", "--two"]);
  assert.deepEqual([code, stdout], [7, '[ "one", "--two" ]\n']);
});

Deno.test("run: what is not granted is not there, but for -A and --deno", async () => {
  await using place = new Place();
  const path = await write(
    place,
    "asks.ts",
    `console.log(Deno.permissions.querySync({ name: "env", variable: "HOME" }).state);\n`,
  );
  assert.equal((await place.patchbay(["run", path])).stdout, "prompt\n");
  assert.equal((await place.patchbay(["run", "-A", path])).stdout, "granted\n");
  const more = await place.patchbay(["run", path, "--deno", "--allow-env=HOME"]);
  assert.equal(more.stdout, "granted\n");
});

Deno.test("run: a module that is not there", async () => {
  await using place = new Place();
  const gone = await place.patchbay(["run", "modules/leg"]);
  assert.deepEqual([gone.code, gone.stdout], [1, ""]);
  assert.equal(
    gone.stderr,
    "patchbay: there is no module modules/leg. Try: patchbay new module leg\n",
  );
  const empty = await place.patchbay(["run", "."]);
  assert.equal(empty.code, 1);
  assert.match(empty.stderr, /has no main\.ts/);
});

Deno.test("run: a module that does not end is killed", async () => {
  await using place = new Place();
  const path = await write(
    place,
    "deaf.ts",
    `Deno.addSignalListener("SIGTERM", () => console.log("no"));
setInterval(() => {}, 1000);
console.log("up");
`,
  );
  const late = place.start(["run", path, "--timeout", "200"]);
  const { code, stdout, stderr } = await late.ended;
  assert.equal(code, 1);
  // It may not even have begun to listen when it is told to stop.
  if (stdout.includes("no")) assert.match(stderr, /did not end within 10 s and is killed/);
  assert.match(stderr, /ran longer than 200 ms\. Try: a longer --timeout\n$/);
});

Deno.test("run: a module of a bus is let through to its manager, by TCP and by a Unix socket", async () => {
  await using place = new Place();
  const led = join(ROOT, "modules/led");
  // As on a machine where no other wire is allowed anything.
  await Deno.mkdir(`${place.folder}/plugins`);
  const urls = [
    undefined,
    `tcp://127.0.0.1:${freePort()}`,
    `unix:${place.folder}/bus.sock`,
  ];
  await Deno.chmod(place.folder, 0o700);
  for (const url of urls) {
    const env: Record<string, string> = { PATCHBAY_BUS: url ?? "" };
    const options = { cwd: place.folder, env };
    const printed = await place.patchbay(["run", led, "--print-permissions"], options);
    const flags = printed.stdout.trim().split(" ").map((flag) => flag.split(/[=,]/));
    const allows = (flag: string, value: string) =>
      flags.some(([name, ...values]) => name === flag && values.includes(value));
    const where = (url ?? "tcp://127.0.0.1:5000").replace("tcp://", "");
    assert.ok(allows("--allow-net", where), printed.stdout);
    assert.ok(allows("--allow-env", "PATCHBAY_BUS"), printed.stdout);
    if (url === undefined) continue; // Another's manager may be at the default port.
    await using manager = await open({
      module: "manager",
      plugins: [bus],
      config: {
        bus: {
          listen: url.startsWith("unix:")
            ? { path: url.slice("unix:".length) }
            : { port: Number(new URL(url.replace("tcp", "http")).port) },
        },
      },
    });
    const joined = Promise.withResolvers<void>();
    manager.transport(bus).onAttendance(({ event, name }) => {
      if (event === "joined" && name === "led") joined.resolve();
    });
    const child = place.start(["run", led], options);
    await Promise.race([joined.promise, child.ended.then(({ stderr }) => assert.fail(stderr))]);
    // SIGTERM is what the trio in modules/ is ended with.
    child.signal(url.startsWith("unix:") ? "SIGQUIT" : "SIGINT");
    assert.deepEqual(await child.ended, { code: 0, stdout: "", stderr: "" });
  }
});
