/** @module */
import assert from "node:assert/strict";
import type { PatchbayError } from "@patchbay/core";
import inProcess from "@patchbay/in_process";
import { hostDirectory, requireHostDirectory } from "./directory.ts";
import { inspect } from "./inspect.ts";
import { listModules, statisticsOf } from "./modules.ts";
import { defaultModuleName, open } from "./open.ts";
import { fakePlugin, Folder, rejection, until } from "./testdata/support.ts";

const quiet = { discover: false, configFile: false } as const;

Deno.test("open: a bay calls, is in the directory while it lives, and publishes what it counts", async () => {
  await using folder = new Folder();
  const runtimeDirectory = `${folder.path}/run`;
  const bay = await open({ builtins: [inProcess], module: "desk", runtimeDirectory, ...quiet });
  await bay.serve("desk/greet", (name) => `Hello ${name}`);
  assert.equal(await bay.call("desk/greet", "Ada"), "Hello Ada");
  const [entry] = await listModules(runtimeDirectory);
  assert.deepEqual([entry.module, entry.pid, entry.endpoints[0].address], [
    "desk",
    Deno.pid,
    "desk/greet",
  ]);
  assert.equal(hostDirectory(bay.directory)?.path, runtimeDirectory);
  await until("statistics are published", async () => {
    const snapshot = await statisticsOf("desk", runtimeDirectory);
    return snapshot?.endpoints.some((one) => one.role === "server" && one.calls === 1) ?? false;
  });
  await bay.close();
  await bay.close();
  assert.deepEqual(await listModules(runtimeDirectory), []);
});

Deno.test("open: exclusive addresses hold between bays that leave the process, not inside it", async () => {
  await using folder = new Folder();
  const wide = fakePlugin("wide", {
    capabilities: { callable: true, speaker: false, job: false },
    open: () =>
      Promise.resolve({
        extras: undefined,
        health: () => ({ status: "healthy" as const }),
        find: () => ({ found: "unknown" as const }),
        serve: () => Promise.resolve({ close: () => Promise.resolve() }),
        close: () => Promise.resolve(),
      }),
  });
  const options = { builtins: [inProcess, wide], runtimeDirectory: folder.path, ...quiet };
  await using one = await open({ ...options, module: "one" });
  await using two = await open({ ...options, module: "two" });
  await one.serve("arm/move", () => 1);
  const error = await rejection("unavailable", two.serve("arm/move", () => 2));
  assert.match(error.message, /already served by one \(pid \d+\)/);
  await two.serve("arm/move", () => 2, { via: ["in_process"] });
});

Deno.test("open: a name that was given and is taken is refused, with the way out", async () => {
  await using folder = new Folder();
  const options = { runtimeDirectory: folder.path, ...quiet };
  await using _ = await open({ ...options, module: "arm" });
  const error = await rejection("unavailable", open({ ...options, module: "arm" }));
  assert.equal(error.retryable, false);
  assert.match(error.remedy ?? "", /pass instance/);
  await using second = await open({ ...options, module: "arm", instance: "arm-2" });
  assert.deepEqual([second.identity.module, second.identity.instance], ["arm", "arm-2"]);
});

Deno.test("open: without a runtime directory the bay opens, and plugins learn why", async () => {
  await using folder = new Folder();
  Deno.chmodSync(folder.path, 0o755);
  const needy = fakePlugin("needy", {
    open: (context) => {
      requireHostDirectory(context);
      throw new Error("it has a directory");
    },
  });
  await using bay = await open({
    builtins: [inProcess, needy],
    runtimeDirectory: folder.path,
    ...quiet,
  });
  assert.equal(bay.directory, undefined);
  const wire = bay.wires().find((one) => one.name === "needy");
  assert.equal(wire?.open, false);
  assert.match(wire?.reason ?? "", /is open to others \(mode 0755\)/);
  assert.match(wire?.remedy ?? "", /chmod 700/);
  await bay.serve("a/b", () => 1);
  assert.equal(await bay.call("a/b", undefined), 1);
  await using none = await open({ builtins: [needy], runtimeDirectory: false, ...quiet });
  assert.match(none.wires()[0].reason ?? "", /switched off/);
});

Deno.test("open: the configuration file says what is not given, and is checked", async () => {
  await using folder = new Folder();
  const seen: unknown[] = [];
  const mars = fakePlugin("mars", {
    open: (context, config) => {
      seen.push(config, context.maxMessageBytes);
      return fakePlugin("mars").open(context, config);
    },
  });
  const configFile = `${folder.path}/patchbay.json`;
  const write = (value: unknown) => Deno.writeTextFileSync(configFile, JSON.stringify(value));
  write({
    module: "from-file",
    maxMessageBytes: 1234,
    runtimeDirectory: "run",
    discover: false,
    wires: { mars: { a: 1, b: 2 } },
  });
  {
    await using bay = await open({ builtins: [mars], configFile, config: { mars: { b: 3 } } });
    assert.equal(bay.identity.module, "from-file");
    assert.equal(hostDirectory(bay.directory)?.path, `${folder.path}/run`);
    assert.deepEqual(seen, [{ a: 1, b: 3 }, 1234]);
    await using second = await open({ builtins: [mars], configFile, module: "given" });
    assert.equal(second.identity.module, "given");
  }
  write({ discover: false, wires: { marz: {} } });
  const error = await rejection("invalid", open({ builtins: [mars], configFile }));
  assert.match(error.message, /patchbay\.json: wires\.marz: there is no plugin/);
  assert.equal(error.remedy, "did you mean mars?");
  const unknown = { runtimeDirectry: "x" } as Record<string, string>;
  assert.equal(
    (await rejection("invalid", open(unknown))).remedy,
    "did you mean runtimeDirectory?",
  );
});

Deno.test("open: dropped-in plugins are opened; a broken one is reported by name", async () => {
  await using folder = new Folder();
  const support = new URL("./testdata/support.ts", import.meta.url).href;
  Deno.mkdirSync(`${folder.path}/plugins/mars`, { recursive: true });
  Deno.mkdirSync(`${folder.path}/plugins/sick`, { recursive: true });
  Deno.writeTextFileSync(
    `${folder.path}/plugins/mars/mod.ts`,
    `import { fakePlugin } from "${support}"; export default fakePlugin("mars");`,
  );
  Deno.writeTextFileSync(`${folder.path}/plugins/sick/mod.ts`, `throw new Error("ill");`);
  const reports: PatchbayError[] = [];
  const options = {
    builtins: [inProcess],
    pluginDirectories: [`${folder.path}/plugins`],
    runtimeDirectory: `${folder.path}/run`,
    configFile: false,
  } as const;
  await using bay = await open({ ...options, onReport: (error) => reports.push(error) });
  assert.deepEqual(bay.wires().map((wire) => [wire.name, wire.open]), [
    ["in_process", true],
    ["mars", true],
  ]);
  assert.match(reports[0].message, /the plugin sick .* is not loaded: its import threw: ill/);

  const report = await inspect({ ...options, config: { in_process: { checkValus: true } } });
  assert.equal(report.runtimeDirectory, `${folder.path}/run`);
  assert.deepEqual(report.broken.map(({ name }) => name), ["sick"]);
  const [own, mars] = report.plugins;
  assert.equal(own.path, "built-in");
  assert.ok(own.fields?.checkValues);
  assert.equal(own.availability.available, false);
  assert.match(JSON.stringify(own.availability), /did you mean checkValues/);
  assert.deepEqual([mars.path, mars.availability], [`${folder.path}/plugins/mars/mod.ts`, {
    available: true,
  }]);
});

Deno.test("open: via is typed by the plugins that are known, if no others can be found", async () => {
  await using bay = await open({ builtins: [inProcess], runtimeDirectory: false, ...quiet });
  await bay.serve("a/b", () => 1, { via: ["in_process"] });
  // @ts-expect-error: no plugin of that name was passed, and none is searched for.
  await rejection("invalid", bay.serve("a/c", () => 1, { via: ["in_proces"] }));
  await using open_ended = await open({
    builtins: [inProcess],
    runtimeDirectory: false,
    configFile: false,
    pluginDirectories: [],
  });
  await rejection("invalid", open_ended.serve("a/c", () => 1, { via: ["dropped_in"] }));
});

Deno.test("default name: from the main module's file, or its folder's", () => {
  const names: [string, string | undefined][] = [
    ["file:///home/ada/sensor.ts", "sensor"],
    ["file:///home/ada/RobotArm.ts", "robot_arm"],
    ["file:///home/ada/my%20robot.v2.ts", "my_robot_v2"],
    ["file:///home/ada/modules/camera/mod.ts", "camera"],
    ["file:///home/ada/main.ts", "ada"],
    ["file:///home/ada/$deno$eval.mts", undefined],
    ["file:///home/ada/___.ts", undefined],
    ["https://example.com/arm.ts", undefined],
  ];
  for (const [main, name] of names) assert.equal(defaultModuleName(main), name, main);
});

Deno.test("default name: a second program of the same name gets its pid added", async () => {
  await using folder = new Folder();
  const options = { runtimeDirectory: folder.path, ...quiet };
  const name = defaultModuleName() ?? "";
  const bays = await Promise.all([open(options), open(options), open(options)]);
  const instances = bays.map((bay) => bay.identity.instance).sort();
  // The test runner's own main module may or may not give a name.
  if (name !== "") {
    const mine = `${name}-${Deno.pid}`;
    assert.deepEqual(instances, [name, mine, `${mine}-2`].sort());
  }
  assert.equal(new Set(instances).size, 3);
  await Promise.all(bays.map((bay) => bay.close()));
});
