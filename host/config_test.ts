/** @module */
import assert from "node:assert/strict";
import { loadConfig } from "./config.ts";
import { Folder, rejection } from "./testdata/support.ts";

async function load(text: string, name = "patchbay.json") {
  await using folder = new Folder();
  const path = `${folder.path}/${name}`;
  Deno.writeTextFileSync(path, text);
  return { config: (await loadConfig(path))?.config, folder: folder.path };
}

Deno.test("config: JSON, JSON with comments and YAML say the same", async () => {
  const expected = { module: "arm", wires: { uds: { maxQueueBytes: 5 } }, maxMessageBytes: 1000 };
  const json = JSON.stringify(expected);
  const yaml = "module: arm\nwires:\n  uds:\n    maxQueueBytes: 5\nmaxMessageBytes: 1000\n";
  assert.deepEqual((await load(json)).config, expected);
  const commented = `// first\n${json.slice(0, -1)},}`;
  assert.deepEqual((await load(commented, "patchbay.jsonc")).config, expected);
  assert.deepEqual((await load(yaml, "patchbay.yaml")).config, expected);
  assert.deepEqual((await load("", "patchbay.yml")).config, {});
});

Deno.test("config: paths are relative to the file", async () => {
  const { config, folder } = await load(JSON.stringify({
    runtimeDirectory: "run",
    pluginDirectories: ["./plugins", "/abs"],
    plugins: ["./mine", "../theirs/mod.ts", "npm:patchbay-mars@1.0.0", "@acme/wire"],
  }));
  assert.deepEqual(config, {
    runtimeDirectory: `${folder}/run`,
    pluginDirectories: [`${folder}/plugins`, "/abs"],
    plugins: [`${folder}/mine`, "/tmp/theirs/mod.ts", "npm:patchbay-mars@1.0.0", "@acme/wire"],
  });
});

Deno.test("config: an unknown key is refused, naming file and key, with the right one suggested", async () => {
  const error = await rejection("invalid", load(`{ "modul": "arm" }`));
  assert.match(error.message, /patchbay\.json: unknown key "modul"/);
  assert.equal(error.remedy, "did you mean module?");
  const far = await rejection("invalid", load(`{ "zzzzzzzz": 1 }`));
  assert.match(far.remedy ?? "", /known are module, instance/);
});

Deno.test("config: a wrong value is refused, naming file and key", async () => {
  const wrong: [string, RegExp][] = [
    [`{ "module": 5 }`, /patchbay\.json: module must be a string/],
    [`{ "module": "" }`, /module must be a string/],
    [`{ "plugins": "redis" }`, /plugins must be a list of strings/],
    [`{ "discover": "no" }`, /discover must be true or false/],
    [`{ "maxMessageBytes": -1 }`, /maxMessageBytes must be a whole number/],
    [`{ "wires": { "uds": true } }`, /wires must be an object with an object for each plugin/],
    [`{ "__proto__": 1, "x": 2 }`, /unknown key/],
    [`[]`, /must hold an object/],
    [`{ "module": `, /patchbay\.json: /],
  ];
  for (const [text, message] of wrong) {
    assert.match((await rejection("invalid", load(text))).message, message);
  }
  await rejection("invalid", load("a: [", "patchbay.yaml"));
  await rejection("invalid", load("{ oops", "patchbay.jsonc"));
  await rejection("invalid", load("", "patchbay.toml"));
});

Deno.test("config: a file that was named must exist; PATCHBAY_CONFIG names one", async () => {
  await using folder = new Folder();
  await rejection("not_found", loadConfig(`${folder.path}/none.json`));
  Deno.writeTextFileSync(`${folder.path}/a.json`, `{ "module": "by-variable" }`);
  Deno.env.set("PATCHBAY_CONFIG", `${folder.path}/a.json`);
  try {
    assert.equal((await loadConfig())?.config.module, "by-variable");
    Deno.env.set("PATCHBAY_CONFIG", `${folder.path}/none.json`);
    await rejection("not_found", loadConfig());
  } finally {
    Deno.env.delete("PATCHBAY_CONFIG");
  }
});

Deno.test("config: one file in the working directory is found, two are refused", async () => {
  await using folder = new Folder();
  const before = Deno.cwd();
  Deno.chdir(folder.path);
  try {
    assert.equal(await loadConfig(), undefined);
    Deno.writeTextFileSync("patchbay.yaml", "module: here");
    assert.equal((await loadConfig())?.config.module, "here");
    Deno.writeTextFileSync("patchbay.json", "{}");
    const error = await rejection("invalid", loadConfig());
    assert.match(error.message, /there are 2: .*patchbay\.json and .*patchbay\.yaml/);
  } finally {
    Deno.chdir(before);
  }
});
