import assert from "node:assert/strict";
import { defineJob } from "./contract.ts";
import { JobEndpoint, type JobSink } from "./job_endpoint.ts";
import { EndpointStatistics } from "./statistics.ts";
import { TimerWheel } from "./timer_wheel.ts";

function ears(): JobSink & { readonly heard: unknown[] } {
  const heard: unknown[] = [];
  return {
    heard,
    accepted: () => heard.push("accepted"),
    feedback: (value) => heard.push(value),
    progressed: (fraction) => heard.push(fraction),
    succeed: (value) => heard.push(`result ${value}`),
    fail: (error) => heard.push(error.code),
  };
}

Deno.test("job endpoint: the late end of an old connection does not cost the new one its job", async () => {
  const timers = new TimerWheel();
  const go = Promise.withResolvers<void>();
  const statistics = new EndpointStatistics("job", "server", "arm/pick", "uds");
  const endpoint = new JobEndpoint(
    defineJob({ address: "arm/pick" }),
    async (_goal, context) => {
      context.feedback("before" as never);
      await go.promise;
      context.feedback("after" as never);
      return "done";
    },
    statistics,
    timers,
    {},
  );
  const [first, second] = [ears(), ears()];
  const context = { headers: {}, peer: { module: "desk", transport: "uds", local: true } };
  const run = endpoint.start("1".repeat(32), {}, context, first);
  assert.ok(run !== undefined);
  await Promise.resolve();
  run.attach(second, 0);
  run.detach(first);
  go.resolve();
  await endpoint.drain();
  await Promise.resolve();
  assert.deepEqual(second.heard.slice(-2), ["after", "result done"]);
  timers.close();
});
