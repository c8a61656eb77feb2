/**
 * `clients/python/patchbay.py` against running bays.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Patchbay } from "@patchbay/core";
import websocket from "@patchbay/websocket";
import { CuttingProxy } from "@patchbay/core/conformance";
import { PROJECT_ROOT } from "../tools/workspace.ts";
import { pythonWith, written } from "./python.ts";

const CLIENT = join(PROJECT_ROOT, "clients/python");
const python = await pythonWith("websockets", "apt-get install python3-websockets");
const env = { PYTHONPATH: CLIENT, PYTHONDONTWRITEBYTECODE: "1" };

Deno.test({
  name: python.name("python: the client calls, shouts, listens, serves, runs jobs, and comes back"),
  ignore: python.ignore,
  fn: async () => {
    const plugins = [websocket];
    const token = "open sesame";
    await using hub = await Patchbay.open({
      module: "hub",
      plugins,
      config: { websocket: { listen: { port: 0 }, token } },
    });
    const { url } = hub.transport(websocket);
    const proxy = new CuttingProxy(Number(new URL(url).port));
    await using closing = new AsyncDisposableStack();
    closing.defer(() => proxy.close());
    await using arm = await Patchbay.open({
      module: "arm",
      plugins,
      config: { websocket: { url, token } },
    });
    await arm.serve("arm/echo", (v) => v);
    await arm.serve("arm/who", (_v, { peer, headers }) => ({ peer: peer.module, headers }));
    await arm.serve("arm/throws", () => {
      throw new Error("as planned");
    });
    await arm.serve("arm/hang", () => new Promise(() => {}));
    const pose = await arm.speaker("arm/pose", { retain: true });
    await pose.shout("home");
    const tick = await arm.speaker<number>("arm/tick");
    await arm.serve<number, number>("arm/tick", async (count) => {
      for (let n = 1; n <= count; n++) await tick.shout(n);
      return count;
    });
    await arm.perform<number, number, string>("arm/count", async (to, context) => {
      for (let n = 1; n <= to; n++) context.feedback(n);
      context.progress(0.75);
      if (to > 0) return "counted";
      return await new Promise((_, reject) => {
        context.signal.addEventListener("abort", () => reject(context.signal.reason));
      });
    });
    const gate = Promise.withResolvers<void>();
    await arm.perform<number, number, string>("arm/gate", async (_goal, { feedback }) => {
      feedback(1);
      await gate.promise;
      feedback(2);
      return "through";
    });
    await arm.serve("arm/open", () => gate.resolve());
    await arm.serve("arm/ask", async () => [
      await arm.call("snake/add", [2, 3]),
      await arm.call("snake/add", null).catch((error) => [error.code, error.message]),
    ]);
    await arm.serve("arm/ask-alive", () => arm.call("snake/alive", 7));
    await arm.serve<string, unknown>("arm/paint", async (what) => {
      const job = await arm.execute<string, number, string>("snake/paint", what);
      const feedback: number[] = [];
      for await (const value of job.feedback) {
        feedback.push(value);
        if (what === "for ever" && feedback.length === 2) job.cancel(new Error("enough"));
      }
      return [feedback, await job.result.catch((error) => error.message)];
    });
    const heard: unknown[] = [];
    await arm.listen("snake/temp", (value) => void heard.push(value));
    await arm.listen("snake/cut", () => proxy.cut());

    const program = join(PROJECT_ROOT, "tests/interop/python_client.py");
    const output = await written(
      python.command,
      [program, `ws://127.0.0.1:${proxy.port}`],
      env,
    );
    const told = Object.fromEntries(output.trim().split("\n").map((line) => JSON.parse(line)));
    assert.deepEqual(told, {
      "hub": "hub",
      "echo": { text: "täxt", list: [1, null, true] },
      "bytes": true,
      "nothing": null,
      "headers": { peer: "snake", headers: { a: "b" } },
      "throws": ["remote", "as planned"],
      "nobody": "not_found",
      "late": "deadline_exceeded",
      "nan": "invalid",
      "many": true,
      "retained": ["arm/pose", "home", true],
      "event": [1, "arm", 1],
      "blocked": Array.from({ length: 20 }, (_, n) => n + 1),
      "listeners": 1,
      "feedback": [1, 2, 3],
      "result": ["counted", 0.75],
      "cancelled": "remote",
      "served": [{ sum: 5, peer: "arm", "in time": true }, ["remote", "no pair"]],
      "performed": [[1, 2], "wall painted"],
      "stopped": [[1, 2], "enough"],
      "closed": "not_found",
      "pending": "closed",
      "heard again": 1,
      "job goes on": [[1, 2], "through"],
      "served again": 7,
      "wrong token": "unauthenticated",
    });
    assert.deepEqual(heard, [21.5, new Uint8Array([1, 2])]);
  },
});

Deno.test({
  name: python.name("python: the example of the client's README runs"),
  ignore: python.ignore,
  fn: async () => {
    await using hub = await Patchbay.open({
      module: "arm",
      plugins: [websocket],
      config: { websocket: { listen: { port: 0 } } },
    });
    await hub.serve<{ x: number }, string>("arm/move", ({ x }) => `at ${x}`);
    await hub.perform<unknown, string, string>("arm/calibrate", (_goal, { feedback, progress }) => {
      progress(0.5);
      feedback("half");
      return "zeroed";
    });
    const pose = await hub.speaker("arm/pose", { retain: true });
    await pose.shout("home");
    const readme = await Deno.readTextFile(join(CLIENT, "README.md"));
    const source = /```python\n([^]*?)```/.exec(readme)?.[1] ?? "";
    const { url } = hub.transport(websocket);
    const output = await written(python.command, ["-c", source, url], env);
    assert.equal(output, "at 1.5\narm/pose home\nhalf 0.5\nzeroed\n0 listen\n");
  },
});
