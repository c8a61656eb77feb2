import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packages, PROJECT_ROOT } from "../tools/workspace.ts";
import { Place, values } from "./testdata/harness.ts";

/** Makes the folder a project whose import map leads to this workspace. */
async function project(place: Place): Promise<void> {
  const found = await packages();
  const imports: Record<string, string> = {};
  for (const each of found) {
    Object.assign(imports, each.imports);
    for (const [entry, file] of Object.entries(each.exports)) {
      const url = pathToFileURL(join(PROJECT_ROOT, each.dir, file)).href;
      imports[`${each.name}${entry.slice(1)}`] = url;
    }
  }
  const config = { name: "@acme/robot", nodeModulesDir: "none", lock: false, imports };
  await Deno.writeTextFile(join(place.folder, "deno.json"), JSON.stringify(config, null, 2) + "\n");
}

Deno.test("new module: a module that runs, with a test that passes", async () => {
  await using place = new Place();
  await project(place);
  const made = await place.patchbay(["new", "module", "left-leg", "--json"]);
  assert.equal(made.code, 0, made.stderr);
  const folder = join(place.folder, "modules/left-leg");
  const paths = ["README.md", "main.ts", "module_test.ts"].map((name) => join(folder, name));
  assert.deepEqual(values(made.stdout).map(({ path }) => path), paths);
  const tests = await place.deno(["test", "-A", "modules"]).ended;
  assert.equal(tests.code, 0, tests.stdout + tests.stderr);
  const child = place.start(["run", "modules/left-leg"]);
  await child.says(/left-leg is ready/);
  const hello = await place.patchbay(["call", "left-leg/greet", '{"name":"Ada"}']);
  assert.equal(hello.stdout, '"Hello Ada"\n');
  child.signal("SIGINT");
  await child.ended;
});

Deno.test("new: nothing is overwritten, and names are checked", async () => {
  await using place = new Place();
  await project(place);
  await Deno.mkdir(join(place.folder, "modules/leg"), { recursive: true });
  await Deno.writeTextFile(join(place.folder, "modules/leg/main.ts"), "mine\n");
  const again = await place.patchbay(["new", "module", "leg"]);
  assert.deepEqual([again.code, again.stdout], [1, ""]);
  assert.match(again.stderr, /^patchbay: modules\/leg\/main\.ts is already there\. Try: .*\n$/);
  assert.equal(await Deno.readTextFile(join(place.folder, "modules/leg/main.ts")), "mine\n");
  assert.deepEqual([...Deno.readDirSync(join(place.folder, "modules/leg"))].length, 1);
  assert.equal((await place.patchbay(["new", "module", "../leg"])).code, 2);
  assert.equal((await place.patchbay(["new", "plugin", "my-wire"])).code, 2);
});

Deno.test("new plugin: listed by doctor, used by a module, and it passes the conformance suite", async () => {
  await using place = new Place();
  await project(place);
  const made = await place.patchbay(["new", "plugin", "loop_back"]);
  assert.equal(made.code, 0, made.stderr);
  const names = ["README.md", "conformance_test.ts", "deno.json", "fixture.ts", "mod.ts"];
  assert.equal(made.stdout, names.map((name) => `+ plugins/loop_back/${name}\n`).join(""));
  const doctor = await place.patchbay(["doctor", "loop_back", "--json"]);
  assert.equal(doctor.code, 0, doctor.stderr);
  const { plugin } = values(doctor.stdout)[1];
  assert.deepEqual([plugin.name, plugin.availability.available], ["loop_back", true]);
  const server = place.start(["serve", "desk/echo", "--echo"]);
  await server.remarks(/serving/);
  const call = await place.patchbay(["call", "desk/echo", "[7]", "--via", "loop_back"]);
  assert.equal(call.stdout, "[7]\n", call.stderr);
  const own = JSON.parse(
    await Deno.readTextFile(join(place.folder, "plugins/loop_back/deno.json")),
  );
  assert.equal(own.name, "@acme/loop_back");
  const formatted = await place.deno(["fmt", "--check", "plugins"]).ended;
  assert.equal(formatted.code, 0, formatted.stderr);
  // Each case has a watchdog of its own.
  const suite = await place.deno(["test", "-A", "plugins"], { watchdogMs: 300_000 }).ended;
  assert.equal(suite.code, 0, suite.stdout.slice(-4000) + suite.stderr);
  assert.match(suite.stdout, /ok \| \d{2,} passed \| 0 failed/);
});

Deno.test("new: a project that does not say where Patchbay is gets full specifiers", async () => {
  await using place = new Place();
  await Deno.writeTextFile(join(place.folder, "deno.json"), "{}\n");
  assert.equal((await place.patchbay(["new", "plugin", "loop_back"])).code, 0);
  const fixture = await Deno.readTextFile(join(place.folder, "plugins/loop_back/fixture.ts"));
  assert.match(fixture, /from "jsr:@patchbay\/core@\^0\.\d+\.\d+\/conformance"/);
  assert.match(fixture, /from "jsr:@patchbay\/host@\^0\.\d+\.\d+"/);
  assert.doesNotMatch(fixture, /from "@patchbay/);
});
