import assert from "node:assert/strict";
import { type Case, runCase } from "./case.ts";
import fixture, { leaking } from "./testdata/lonely_fixture.ts";

function aCase(run: Case["run"]): Case {
  return { name: "a case", run };
}

Deno.test("far side: a child process opens a bay, plays roles and ends by itself", async () => {
  let left = 0;
  await runCase(
    aCase(async ({ play, far, wait }) => {
      const server = await play("server", { address: "far/echo", kind: "echo" });
      const caller = await play("caller", { address: "far/echo" });
      assert.deepEqual(await caller.ask("call", { value: 7 }), { value: "7" });
      assert.deepEqual(await server.ask("entered", { count: 1 }), ["7"]);
      await far.close();
      await far.reopen();
      await wait("an empty bay to refuse", play("caller", { address: "far/echo" }));
      left++;
    }),
    fixture,
    "two_processes",
  );
  assert.equal(left, 1);
});

Deno.test("far side: what goes wrong over there is an error over here", async () => {
  await runCase(
    aCase(async ({ play }) => {
      const caller = await play("caller", { address: "far/nobody" });
      assert.deepEqual(await caller.ask("call", { value: 1 }), { code: "not_found" });
      await assert.rejects(caller.ask("dance"), /does not know dance/);
      await assert.rejects(play("server", { address: "NO GOOD", kind: "echo" }), /address/);
    }),
    fixture,
    "two_processes",
  );
});

Deno.test("far side: it can be killed, and who still asks it is told", async () => {
  await runCase(
    aCase(async ({ play, far }) => {
      const server = await play("server", { address: "far/echo", kind: "echo" });
      const never = server.ask("entered", { count: 1 });
      await far.kill();
      await assert.rejects(never, /the far process has ended/);
    }),
    fixture,
    "two_processes",
  );
});

Deno.test("far side: a process that does not end by itself fails the case", async () => {
  await assert.rejects(
    runCase(aCase(() => Promise.resolve()), leaking, "two_processes", 1500),
    /did not end within 1500 ms; waiting for the far side to end by itself/,
  );
});

Deno.test("case: the watchdog says what the case waited for", async () => {
  await assert.rejects(
    runCase(aCase(({ wait }) => wait("Godot", new Promise(() => {}))), fixture, "alone", 100),
    /a case: did not end within 100 ms; waiting for .*Godot/,
  );
});

Deno.test("case: what a case leaves open is closed, however it ends", async () => {
  const done: string[] = [];
  await assert.rejects(
    runCase(
      aCase(async ({ open, defer }) => {
        const bay = await open("left");
        defer(() => Promise.resolve(done.push(bay.closed ? "closed first" : "still open")));
        throw new Error("it failed");
      }),
      fixture,
      "alone",
    ),
    /it failed/,
  );
  assert.deepEqual(done, ["still open"]);
});
