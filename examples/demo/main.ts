/**
 * The demo: starts a sensor, an arm and a console, each a process of its own with no more
 * permissions than it needs, and restarts the first two when they die. There is no server. Ends by
 * itself after about ten seconds, with 0 if everything that its summary says is true.
 *
 * Run it with `deno task demo`.
 *
 * @module
 */
import { join } from "node:path";
import { builtins, Patchbay } from "@patchbay/patchbay";
import { bayPermissions } from "@patchbay/host";
import { Kill } from "./contracts.ts";
import { dim, green, red, useColour } from "./paint.ts";

/** How long a dead process stays dead, in milliseconds, so that one can watch. */
const RESTART_MS = 900;
/** How long the processes may take to end, in milliseconds, before they are killed. */
const GRACE_MS = 3000;
/** After so long something hangs, in milliseconds. */
const WATCHDOG_MS = 90_000;

type Name = "sensor" | "arm" | "console";

useColour(Deno.stdout.isTerminal() && !Deno.noColor);
const temporary = Deno.makeTempDirSync({ prefix: "patchbay-demo-" });
const runtimeDir = join(temporary, "run");
const alive = new Map<Name, Deno.ChildProcess>();
const ended: Promise<void>[] = [];
let stopping: Promise<boolean> | undefined;
let started = 0;

/** Starts a process; a sensor or arm that dies is started again. */
function start(name: Name): Deno.ChildProcess {
  const flags = bayPermissions({
    module: name,
    runtimeDir,
    plugins: builtins,
    peers: name === "console" ? ["sensor", "arm", "conductor"] : [],
  });
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      ...flags,
      new URL(`${name}.ts`, import.meta.url).href,
      runtimeDir,
    ],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdin: name === "console" ? "null" : "piped",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  started++;
  alive.set(name, child);
  ended.push(child.status.then(async () => {
    if (name !== "console") await child.stdin.close().catch(() => {});
    alive.delete(name);
    if (name === "console" || stopping !== undefined) return;
    await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
    if (stopping === undefined) start(name);
  }));
  return child;
}

/** Ends every process and removes every file. Answers whether nothing is left. Idempotent. */
function stop(): Promise<boolean> {
  return stopping ??= (async () => {
    const kill = setTimeout(() => {
      for (const child of alive.values()) child.kill("SIGKILL");
    }, GRACE_MS);
    for (const [name, child] of alive) {
      // The sensor and the arm live as long as somebody holds their stdin.
      if (name === "console") child.kill("SIGTERM");
      else child.stdin.close().catch(() => {});
    }
    for (let i = 0; i < ended.length; i++) await ended[i];
    clearTimeout(kill);
    await bay.close();
    Deno.removeSync(temporary, { recursive: true });
    // Where the console was interrupted, the cursor is still hidden.
    if (Deno.stdout.isTerminal()) Deno.stdout.writeSync(new TextEncoder().encode("\x1b[?25h"));
    return alive.size === 0;
  })();
}

await using bay = await Patchbay.open({
  module: "conductor",
  runtimeDirectory: runtimeDir,
  configFile: false,
  discover: false,
  handleSignals: false,
});
for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]] as const) {
  // Not `onShutdown`: `deno task` passes on a Ctrl-C that the terminal has sent already, and the
  // second signal would end this process before the others have ended.
  Deno.addSignalListener(signal, () => void stop().finally(() => Deno.exit(128 + number)));
}
await bay.serve(Kill, async ({ module }) => {
  const child = alive.get(module);
  if (child === undefined) throw new Error(`the ${module} is not alive`);
  child.kill("SIGKILL");
  const { signal } = await child.status;
  return { pid: child.pid, signal };
});

const watchdog = setTimeout(() => {
  console.error(red(`demo: still running after ${WATCHDOG_MS / 1000} s`));
  for (const child of alive.values()) child.kill("SIGKILL");
}, WATCHDOG_MS);
start("sensor");
start("arm");
const { code } = await start("console").status;
clearTimeout(watchdog);
const interrupted = stopping !== undefined;
const clean = await stop();
if (interrupted) await new Promise<never>(() => {}); // The signal's handler ends the process.
console.log(
  clean
    ? `  ${green("✓")} ${started} processes started, 0 left; the runtime directory is removed`
    : `  ${red("✗")} processes are left: ${[...alive.keys()].join(", ")}`,
);
console.log(dim(`  The code: ${new URL(".", import.meta.url).pathname}`));
Deno.exitCode = code === 0 && clean ? 0 : 1;
