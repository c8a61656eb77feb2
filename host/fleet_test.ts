import assert from "node:assert/strict";
import { FleetRun, type FleetStatus, readFleet } from "./mod.ts";

/** A folder with files, until it is disposed of. */
async function folder(files: Record<string, string>): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "pb-" });
  for (const [name, text] of Object.entries(files)) {
    if (name.includes("/")) {
      await Deno.mkdir(`${path}/${name.slice(0, name.lastIndexOf("/"))}`, { recursive: true });
    }
    await Deno.writeTextFile(`${path}/${name}`, text);
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("fleet file: is read with its defaults, in the order of after", async () => {
  await using at = await folder({
    "fleet.yaml": `
env: { BUS: "tcp://127.0.0.1:5000", LEVEL: 1 }
modules:
  controller:
    run: controller
    after: [led]
    env: { LEVEL: 2 }
    restart: always
    args: [--fast]
  led: led.ts
`,
    "controller/main.ts": "",
    "led.ts": "",
  });
  const fleet = await readFleet(`${at.path}/fleet.yaml`);
  assert.deepEqual(fleet.modules, [
    {
      name: "led",
      file: `${at.path}/led.ts`,
      args: [],
      flags: ["-A"],
      env: { BUS: "tcp://127.0.0.1:5000", LEVEL: "1" },
      restart: "on_failure",
      after: [],
    },
    {
      name: "controller",
      file: `${at.path}/controller/main.ts`,
      args: ["--fast"],
      flags: ["-A"],
      env: { BUS: "tcp://127.0.0.1:5000", LEVEL: "2" },
      restart: "always",
      after: ["led"],
    },
  ]);
});

Deno.test("fleet file: what is wrong is named with its path", async () => {
  const wrong: [string, string, RegExp, RegExp?][] = [
    ["modules: {}", "invalid", /modules is empty/],
    ["moduels: {}", "invalid", /moduels is not known/, /did you mean modules\?/],
    ["modules: [a]", "invalid", /modules is not a table/],
    ["modules: { a: {} }", "invalid", /modules\.a\.run is missing/],
    ["modules: { A: a.ts }", "invalid", /modules\.A is no name/],
    ["modules: { a: b.ts }", "not_found", /modules\.a\.run: there is no module/],
    ["modules: { a: { run: a.ts, retsart: never } }", "invalid", /retsart/, /restart\?/],
    ["modules: { a: { run: a.ts, restart: maybe } }", "invalid", /restart is "maybe"/],
    ["modules: { a: { run: a.ts, args: fast } }", "invalid", /args is not a list/],
    ["modules: { a: { run: a.ts, after: [c] } }", "invalid", /names c, which is not/],
    [
      "modules: { a: { run: a.ts, after: [c] }, c: { run: a.ts, after: [a] } }",
      "invalid",
      /circle: a after c after a/,
    ],
    ["a: [", "invalid", /fleet\.yaml/],
  ];
  for (const [text, code, message, remedy] of wrong) {
    await using at = await folder({ "fleet.yaml": text, "a.ts": "" });
    await assert.rejects(readFleet(`${at.path}/fleet.yaml`), {
      code,
      message,
      ...(remedy === undefined ? {} : { remedy }),
    }, text);
  }
  await assert.rejects(readFleet("/nowhere/fleet.yaml"), { code: "not_found" });
});

const LIVES = `
setInterval(() => {}, 1000);
Deno.addSignalListener("SIGTERM", () => { console.log("bye"); Deno.exit(0); });
console.log("here");
`;

Deno.test("fleet: modules are started in order, and stopped in reverse order", async () => {
  await using at = await folder({
    "fleet.json": JSON.stringify({ modules: { a: "a.ts", b: { run: "a.ts", after: ["a"] } } }),
    "a.ts": LIVES,
  });
  const lines: string[] = [];
  const here = { a: Promise.withResolvers<void>(), b: Promise.withResolvers<void>() };
  await using run = new FleetRun(await readFleet(`${at.path}/fleet.json`), {
    onLine(module, stream, line) {
      lines.push(`${module} ${stream} ${line}`);
      if (line === "here") here[module as "a" | "b"].resolve();
    },
  });
  await run.start();
  await Promise.all([here.a.promise, here.b.promise]);
  assert.deepEqual(run.status.map(({ name, state }) => [name, state]), [
    ["a", "running"],
    ["b", "running"],
  ]);
  await run.stop();
  assert.deepEqual(lines.slice(2), ["b stdout bye", "a stdout bye"]);
  assert.deepEqual(run.status.map(({ state }) => state), ["ended", "ended"]);
});

Deno.test("fleet: hooks that throw cost neither a line nor a restart, and are told", async () => {
  await using at = await folder({
    "fleet.json": JSON.stringify({ modules: { a: "a.ts" } }),
    "a.ts": `console.log("first"); console.log("second"); Deno.exit(3);`,
  });
  const lines: string[] = [];
  const told: string[] = [];
  const again = Promise.withResolvers<void>();
  const { error } = console;
  console.error = (...words: unknown[]) => void told.push(words.map(String).join(" "));
  try {
    await using run = new FleetRun(await readFleet(`${at.path}/fleet.json`), {
      restartMinMs: 5,
      onLine(_module, _stream, line) {
        lines.push(line);
        if (lines.length === 4) again.resolve();
        throw new Error(`no room for ${line}`);
      },
      onState() {
        throw new Error("no state");
      },
    });
    await run.start();
    await again.promise;
    await run.stop();
  } finally {
    console.error = error;
  }
  assert.deepEqual(lines.slice(0, 4), ["first", "second", "first", "second"]);
  assert.ok(told.some((line) => /onLine of a threw: Error: no room for second/.test(line)));
  assert.ok(told.some((line) => /onState of a threw: Error: no state/.test(line)));
});

Deno.test("fleet: the crashed is started again, by policy, and the others go on", async () => {
  await using at = await folder({
    "fleet.yaml": `
modules:
  steady: lives.ts
  crashes: { run: crashes.ts }
  done: { run: done.ts }
  gives_up: { run: crashes.ts, restart: never }
`,
    "lives.ts": LIVES,
    "crashes.ts": "throw new Error('broken');",
    "done.ts": "console.log('done');",
  });
  const again = Promise.withResolvers<void>();
  const states: string[] = [];
  await using run = new FleetRun(await readFleet(`${at.path}/fleet.yaml`), {
    restartMinMs: 5,
    onState(status: FleetStatus) {
      states.push(`${status.name} ${status.state}`);
      if (status.name === "crashes" && status.restarts === 2) again.resolve();
    },
  });
  await run.start();
  const [steady] = run.status;
  await again.promise;
  const status = new Map(run.status.map((each) => [each.name, each]));
  assert.equal(status.get("steady")?.pid, steady.pid);
  assert.equal(status.get("crashes")?.lastEnd, "exit code 1");
  await run.stop();
  const last = new Map(run.status.map((each) => [each.name, each]));
  assert.deepEqual([last.get("done")?.state, last.get("done")?.restarts], ["ended", 0]);
  assert.deepEqual([last.get("gives_up")?.state, last.get("gives_up")?.restarts], ["failed", 0]);
  assert.ok(states.includes("crashes waiting"));
  await run.ended();
});

Deno.test("fleet: one that does not stop is killed", async () => {
  await using at = await folder({
    "fleet.json": JSON.stringify({ modules: { deaf: "deaf.ts" } }),
    "deaf.ts": `Deno.addSignalListener("SIGTERM", () => {}); setInterval(() => {}, 1000);
console.log("here");`,
  });
  const here = Promise.withResolvers<void>();
  await using run = new FleetRun(await readFleet(`${at.path}/fleet.json`), {
    stopMs: 100,
    onLine: () => here.resolve(),
  });
  await run.start();
  await here.promise;
  await run.stop();
  assert.equal(run.status[0].lastEnd, "SIGKILL");
});

/** Whether a process is there; one that has ended and waits for its parent is not. */
async function alive(pid: number): Promise<boolean> {
  const { success, stdout } = await new Deno.Command("ps", {
    args: ["-o", "stat=", "-p", String(pid)],
  }).output();
  return success && !new TextDecoder().decode(stdout).trim().startsWith("Z");
}

/** Resolves when a process has ended. */
async function ended(pid: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (!await alive(pid)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`the process ${pid} has not ended`);
}

// A module with a process of its own, which says both numbers and does not stop by itself.
const PARENT = `
const child = new Deno.Command("sleep", { args: ["600"], stdin: "null" }).spawn();
Deno.addSignalListener("SIGTERM", () => Deno.exit(0));
console.log(Deno.pid + " " + child.pid);
setInterval(() => {}, 1000);`;

const WAYS_TO_END = {
  "exits without stopping": "Deno.exit(0);",
  "has an uncaught error": "setTimeout(() => { throw new Error('the runner broke'); });",
  "has an unhandled rejection": "Promise.reject(new Error('the runner broke'));",
  "is killed": "Deno.kill(Deno.pid, 'SIGKILL');",
};

for (const [way, statement] of Object.entries(WAYS_TO_END)) {
  Deno.test({
    name: `fleet: a runner that ${way} leaves no process behind`,
    ignore: Deno.build.os === "windows",
    async fn() {
      await using at = await folder({
        "fleet.json": JSON.stringify({ modules: { a: "a.ts" } }),
        "a.ts": PARENT,
        "main.ts": `import { FleetRun, readFleet } from ${
          JSON.stringify(new URL("mod.ts", import.meta.url).href)
        };
const pids = Promise.withResolvers();
const run = new FleetRun(await readFleet(Deno.args[0]), {
  onLine: (_module, _stream, line) => pids.resolve(line),
});
await run.start();
console.log(await pids.promise);
${statement}`,
      });
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "--config",
          decodeURIComponent(new URL("../deno.json", import.meta.url).pathname),
          `${at.path}/main.ts`,
          `${at.path}/fleet.json`,
        ],
      }).output();
      const pids = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
      assert.ok(
        pids.length === 2 && pids.every((pid) => pid > 0),
        new TextDecoder().decode(stderr),
      );
      await Promise.all(pids.map(ended));
    },
  });
}

for (
  const [what, last, stopMs] of [
    ["stops", "Deno.addSignalListener('SIGTERM', () => Deno.exit(0));", 10_000],
    ["does not stop and is killed", "Deno.addSignalListener('SIGTERM', () => {});", 100],
    ["crashes", "setTimeout(() => Deno.exit(3), 100);", 10_000],
  ] as const
) {
  Deno.test({
    name: `fleet: what a module has started ends with it when it ${what}`,
    ignore: Deno.build.os === "windows",
    async fn() {
      await using at = await folder({
        "fleet.json": JSON.stringify({ modules: { a: { run: "a.ts", restart: "never" } } }),
        "a.ts": PARENT.replace(/Deno\.addSignalListener.*/, last),
      });
      const line = Promise.withResolvers<string>();
      await using run = new FleetRun(await readFleet(`${at.path}/fleet.json`), {
        stopMs,
        onLine: (_module, _stream, text) => line.resolve(text),
      });
      await run.start();
      const [, child] = (await line.promise).split(" ").map(Number);
      if (what === "crashes") await run.ended();
      else await run.stop();
      await ended(child);
    },
  });
}

Deno.test("fleet: a module whose output somebody else keeps open is seen to die all the same", async () => {
  await using at = await folder({
    "fleet.json": JSON.stringify({ modules: { parent: { run: "parent.ts", restart: "never" } } }),
    "parent.ts": `
// In a group of its own: it is not ended with its parent.
const heir = new Deno.Command("sleep", { args: ["60"], stdin: "null", detached: true }).spawn();
heir.unref();
console.log(heir.pid);
Deno.exit(3);`,
  });
  const heir = Promise.withResolvers<number>();
  await using run = new FleetRun(await readFleet(`${at.path}/fleet.json`), {
    onLine: (_module, _stream, line) => heir.resolve(Number(line)),
  });
  await run.start();
  const pid = await heir.promise;
  try {
    await run.ended();
    assert.deepEqual([run.status[0].state, run.status[0].lastEnd], ["failed", "exit code 3"]);
  } finally {
    Deno.kill(pid, "SIGKILL");
  }
});
