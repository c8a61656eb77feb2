import assert from "node:assert/strict";
import inProcess from "@patchbay/in_process";
import { guardReport, Patchbay, PatchbayError, runHook, type Telemetry } from "./mod.ts";

/** What the console was told while a function ran. */
async function told(run: () => Promise<void>): Promise<string[]> {
  const lines: string[] = [];
  const before = console.error;
  console.error = (...words: unknown[]) => void lines.push(words.map(String).join(" "));
  try {
    await run();
  } finally {
    console.error = before;
  }
  return lines;
}

const broken = () => {
  throw new Error("the hook broke");
};

Deno.test("hooks: what one throws, at once or later, goes to who wants to know", async () => {
  const thrown: unknown[] = [];
  runHook(() => 1, (error) => thrown.push(error));
  runHook(broken, (error) => thrown.push(error));
  const later = Promise.withResolvers<void>();
  runHook(() => Promise.reject(new Error("later")), (error) => {
    thrown.push(error);
    later.resolve();
  });
  await later.promise;
  assert.deepEqual(thrown.map(String), ["Error: the hook broke", "Error: later"]);
});

Deno.test("hooks: an onReport that throws loses neither its report nor its reporter", async () => {
  const lines = await told(async () => {
    guardReport(broken)(new PatchbayError("invalid", "the first"));
    guardReport(() => Promise.reject(new Error("late")) as unknown as void)(
      new PatchbayError("internal", "the second"),
    );
    await Promise.resolve();
  });
  assert.match(lines[0], /onReport threw at invalid: the first: Error: the hook broke/);
  assert.match(lines[1], /internal: the second: Error: late/);
});

Deno.test("hooks: a listener and the speaker go on when listener and onReport throw", async () => {
  const heard: unknown[] = [];
  const lines = await told(async () => {
    await using bay = await Patchbay.open({ plugins: [inProcess], onReport: broken });
    await bay.listen("desk/talk", (value) => {
      heard.push(value);
      throw new Error("the listener broke");
    });
    const speaker = await bay.speaker("desk/talk");
    await speaker.shout(1);
    await speaker.shout(2);
  });
  assert.deepEqual(heard, [1, 2]);
  assert.equal(lines.filter((line) => line.includes("the listener broke")).length, 2);
});

Deno.test("hooks: an onSilent and an onClose that throw or reject are reported", async () => {
  const reports: string[] = [];
  const silent = Promise.withResolvers<void>();
  const bay = await Patchbay.open({
    plugins: [inProcess],
    onClose: broken,
    onReport: (error) => {
      reports.push(error.message);
      silent.resolve();
    },
  });
  await bay.listen("desk/talk", () => {}, {
    maxSilenceMs: 1,
    onSilent: () => Promise.reject(new Error("silence broke")) as unknown as void,
  });
  await silent.promise;
  await bay.close();
  assert.deepEqual(reports, ["silence broke", "the hook broke"]);
});

Deno.test("hooks: telemetry that throws costs no call its answer", async () => {
  const half = {
    headers: {},
    run: <T>(fn: () => T): T => {
      fn();
      throw new Error("run broke");
    },
    end: broken,
  };
  const telemetries: Telemetry[] = [
    { startClient: broken, startServer: broken },
    { startClient: () => half, startServer: () => half },
  ];
  for (const telemetry of telemetries) {
    const reports: PatchbayError[] = [];
    await using bay = await Patchbay.open({
      plugins: [inProcess],
      telemetry,
      onReport: (error) => void reports.push(error),
    });
    let served = 0;
    await bay.serve("desk/greet", (name: string) => (served++, `Hello ${name}`));
    assert.equal(await bay.call("desk/greet", "Ada"), "Hello Ada");
    await bay.serve("desk/fail", () => {
      throw new PatchbayError("invalid", "its own error");
    });
    await assert.rejects(bay.call("desk/fail", 1), { message: "its own error" });
    assert.equal(served, 1);
    assert.ok(reports.length > 0);
    assert.ok(reports.every((error) => error.transport === "in_process"));
  }
});
