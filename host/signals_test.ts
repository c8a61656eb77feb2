/** @module */
import assert from "node:assert/strict";
import { onShutdown } from "./signals.ts";
import { Child, exists, Folder } from "./testdata/support.ts";

/** Lines until the end, then the exit code. */
async function rest(child: Child): Promise<[string[], number]> {
  const lines: string[] = [];
  for (let line = await child.line(); line !== undefined; line = await child.line()) {
    lines.push(line);
  }
  return [lines, (await child.status()).code];
}

for (
  const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGQUIT", 131]] as const
) {
  Deno.test(`signals: on ${signal} a bay removes its files and the process exits with ${code}`, async () => {
    await using folder = new Folder();
    await using child = new Child("on_signal.ts", [folder.path, "bay"]);
    assert.equal(await child.line(), "ready");
    assert.equal(exists(`${folder.path}/waiter.json`), true);
    assert.equal(exists(`${folder.path}/waiter.sock`), true);
    child.signal(signal);
    assert.deepEqual(await rest(child), [[], code]);
    assert.deepEqual([...Deno.readDirSync(folder.path)].map((f) => f.name), [".directory.lock"]);
  });
}

Deno.test("signals: targets close in reverse order, then the process exits with 0", async () => {
  await using folder = new Folder();
  await using child = new Child("on_signal.ts", [folder.path, "order"]);
  assert.equal(await child.line(), "ready");
  child.signal("SIGTERM");
  assert.deepEqual(await rest(child), [["second", "first"], 0]);
});

Deno.test("signals: a target that throws stops no other, and the exit code can be chosen", async () => {
  await using folder = new Folder();
  await using child = new Child("on_signal.ts", [folder.path, "throws"]);
  assert.equal(await child.line(), "ready");
  child.signal("SIGTERM");
  assert.deepEqual(await rest(child), [["second", "first"], 7]);
});

Deno.test("signals: an echo of the first is no second signal, a later one exits with 130", async () => {
  await using folder = new Folder();
  await using child = new Child("on_signal.ts", [folder.path, "hangs"]);
  assert.equal(await child.line(), "ready");
  // A runner passes on what the terminal has sent already: both are the first.
  child.signal("SIGTERM");
  child.signal("SIGTERM");
  assert.equal(await child.line(), "hanging");
  const impatient = setInterval(() => child.signal("SIGTERM"), 100);
  try {
    assert.deepEqual(await rest(child), [[], 130]);
  } finally {
    clearInterval(impatient);
  }
});

Deno.test("signals: a bay that was closed keeps no process alive", async () => {
  await using folder = new Folder();
  await using child = new Child("on_signal.ts", [folder.path, "closed"]);
  assert.deepEqual(await rest(child), [["closed", "ready"], 0]);
});

Deno.test("signals: disposing of a registration takes the handlers away, twice is once", () => {
  const one = onShutdown(() => {});
  using _two = onShutdown([() => {}]);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
});
