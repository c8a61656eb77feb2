/** @module */
import assert from "node:assert/strict";
import inProcess from "@patchbay/in_process";
import { discover, projectFolder } from "./loader.ts";
import { pluginFaults } from "./plugin_shape.ts";
import { Child, fakePlugin, Folder } from "./testdata/support.ts";

const SUPPORT = new URL("./testdata/support.ts", import.meta.url).href;

/** The source of a plugin that works. */
const works = (name: string) =>
  `import { fakePlugin } from ${JSON.stringify(SUPPORT)};\nexport default fakePlugin("${name}");`;

/** Writes plugin folders. */
function write(folder: string, sources: Record<string, string>, file = "mod.ts"): void {
  for (const [name, source] of Object.entries(sources)) {
    Deno.mkdirSync(`${folder}/${name}`, { recursive: true });
    Deno.writeTextFileSync(`${folder}/${name}/${file}`, source);
  }
}

Deno.test("loader: every folder with a mod.ts or mod.js is a plugin, whatever else lies there", async () => {
  await using folder = new Folder();
  write(folder.path, { mars: works("mars"), venus: works("venus") });
  write(folder.path, { pluto: works("pluto") }, "mod.js");
  Deno.mkdirSync(`${folder.path}/notes`);
  Deno.mkdirSync(`${folder.path}/.git`);
  Deno.writeTextFileSync(`${folder.path}/README.md`, "");
  const { plugins, broken } = await discover({
    builtins: [inProcess],
    directories: [folder.path, `${folder.path}/none`],
  });
  assert.deepEqual(plugins.map(({ plugin, path }) => [plugin.name, path]), [
    ["in_process", "built-in"],
    ["mars", `${folder.path}/mars/mod.ts`],
    ["pluto", `${folder.path}/pluto/mod.js`],
    ["venus", `${folder.path}/venus/mod.ts`],
  ]);
  assert.deepEqual(broken, []);
});

Deno.test("loader: broken plugins are named with reason and remedy, and stop nobody", async () => {
  await using folder = new Folder();
  write(folder.path, {
    bad_shape:
      `export default { name: "badShape", capabilities: { callable: 1, speaker: true, job: true } };`,
    bad_syntax: `export default {`,
    missing: `import "./not_there.ts"; export default {};`,
    named: `export const mars = {};`,
    throws: `throw new Error("on purpose");`,
    throws_null: `throw null;`,
    unmapped: `import "unmapped-package"; export default {};`,
    works: works("works"),
  });
  const { plugins, broken } = await discover({ directories: [folder.path] });
  assert.deepEqual(plugins.map(({ plugin }) => plugin.name), ["works"]);
  const expected: [string, RegExp][] = [
    ["bad_shape", /not a plugin: name must be a snake_case.*capabilities\.callable must be true/],
    ["bad_syntax", /cannot be loaded|syntax error/],
    ["missing", /cannot be loaded: .*not_there/],
    ["named", /no default export/],
    ["throws", /its import threw: on purpose/],
    ["throws_null", /its import threw: null/],
    ["unmapped", /cannot be loaded: .*unmapped-package/],
  ];
  assert.deepEqual(broken.map(({ name }) => name), expected.map(([name]) => name));
  for (const [at, [name, reason]] of expected.entries()) {
    assert.match(broken[at].reason, reason);
    assert.ok(broken[at].remedy.length > 10, name);
    assert.equal(broken[at].path, `${folder.path}/${name}/mod.ts`);
  }
});

Deno.test("loader: a plugin whose import hangs is named, and stops nobody", async () => {
  await using folder = new Folder();
  write(folder.path, { hangs: `await new Promise(() => {});`, works: works("works") });
  await using child = new Child("hanging.ts", [folder.path]);
  assert.equal(await child.line(), "works");
  assert.equal(await child.line(), "hangs: its import did not end within 300 ms");
  assert.equal((await child.status()).code, 0);
});

Deno.test("loader: a name that is taken is reported; the first one wins", async () => {
  await using folder = new Folder();
  write(folder.path, {
    a: works("mars"),
    b: works("mars"),
    c: works("in_process"),
  });
  const { plugins, broken } = await discover({
    builtins: [inProcess],
    directories: [folder.path],
  });
  assert.deepEqual(plugins.map(({ path }) => path), ["built-in", `${folder.path}/a/mod.ts`]);
  assert.deepEqual(broken.map(({ name }) => name), ["mars", "in_process"]);
  assert.match(broken[0].reason, /taken by .*\/a\/mod\.ts, which wins/);
  assert.match(broken[1].reason, /taken by the built-in plugin, which wins/);
});

Deno.test("loader: Patchbay's own plugin folder is not a second in_process", async () => {
  const own = new URL("../plugins", import.meta.url).pathname;
  const { plugins, broken } = await discover({ builtins: [inProcess], directories: [own] });
  assert.equal(plugins.filter(({ plugin }) => plugin.name === "in_process").length, 1);
  assert.deepEqual(broken.filter(({ name }) => name === "in_process"), []);
  assert.equal(projectFolder(), Deno.cwd());
});

Deno.test("loader: a single plugin is named by folder, file or specifier", async () => {
  await using folder = new Folder();
  write(folder.path, { mars: works("mars"), venus: works("venus") });
  Deno.mkdirSync(`${folder.path}/empty`);
  const { plugins, broken } = await discover({
    specifiers: [
      `${folder.path}/mars`,
      `${folder.path}/venus/mod.ts`,
      "@patchbay/in_process",
      `${folder.path}/empty`,
      "@nobody/nothing",
    ],
  });
  assert.deepEqual(plugins.map(({ plugin }) => plugin.name), ["mars", "venus", "in_process"]);
  assert.deepEqual(broken.map(({ name }) => name), ["empty", "@nobody/nothing"]);
  assert.match(broken[0].reason, /no mod\.ts/);
});

Deno.test("plugin shape: every field is checked, and a missing table is one fault", () => {
  assert.deepEqual(pluginFaults(fakePlugin("mars")), []);
  assert.deepEqual(pluginFaults(inProcess), []);
  assert.deepEqual(pluginFaults(undefined), ["it is not an object"]);
  const without = { ...fakePlugin("mars") } as Record<string, unknown>;
  for (
    const field of [
      "name",
      "summary",
      "capabilities",
      "scope",
      "rank",
      "traits",
      "config",
      "available",
      "open",
    ]
  ) {
    const faults = pluginFaults({ ...without, [field]: undefined });
    assert.equal(faults.length, 1, faults.join());
    assert.ok(faults[0].startsWith(field));
  }
  for (const name of ["myWire", "my-wire", "1wire", "", "my__wire"]) {
    assert.match(pluginFaults(fakePlugin(name))[0], /name must be a snake_case string/);
  }
  const traits = { ...fakePlugin("mars").traits } as Record<string, unknown>;
  for (const trait of Object.keys(traits)) {
    const faults = pluginFaults({ ...without, traits: { ...traits, [trait]: "wrong" } });
    assert.equal(faults.length, 1);
    assert.ok(faults[0].startsWith(`traits.${trait}`));
  }
});
