import assert from "node:assert/strict";
import inProcess from "@patchbay/in_process";
import { open } from "./open.ts";
import { serveMetrics } from "./metrics.ts";

Deno.test("metrics: counters and health are served, everything else is refused", async () => {
  await using bay = await open({
    builtins: [inProcess],
    module: "desk",
    discover: false,
    runtimeDirectory: false,
    configFile: false,
    handleSignals: false,
  });
  await bay.serve("desk/echo", (value) => value);
  await bay.call("desk/echo", 1);
  await using metrics = serveMetrics(bay, { port: 0, labels: { robot: "r2" } });
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(metrics.url + path, init);
    return { status: response.status, text: await response.text(), headers: response.headers };
  };
  const counters = await get("/metrics");
  assert.equal(counters.status, 200);
  assert.match(counters.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  assert.match(counters.text, /patchbay_calls_total\{[^}]*robot="r2"[^}]*role="server"[^}]*\} 1\n/);
  const health = await get("/health");
  assert.equal(health.status, 200);
  assert.deepEqual(JSON.parse(health.text).wires, [
    { name: "in_process", open: true, health: { status: "healthy" } },
  ]);
  assert.equal((await get("/")).status, 404);
  assert.equal((await get("/metrics", { method: "POST" })).status, 405);
  await bay.close();
  assert.equal((await get("/health")).status, 503);
  await metrics.close();
});
