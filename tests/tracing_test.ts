/**
 * One trace over two bays and a socket: the tracing layer on the session's headers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Context,
  context,
  type ContextManager,
  ROOT_CONTEXT,
  trace,
} from "npm:@opentelemetry/api@1.9.0";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "npm:@opentelemetry/sdk-trace-base@2.12.1";
import { tracing } from "@patchbay/core";
import { openTelemetry } from "@patchbay/core/open-telemetry";
import { open } from "@patchbay/host";
import inProcess, { Room } from "@patchbay/in_process";
import uds from "@patchbay/uds";

/** What `node:async_hooks` gives, as OpenTelemetry wants it. */
class AsyncContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();
  active = () => this.#storage.getStore() ?? ROOT_CONTEXT;
  with: ContextManager["with"] = (to, fn, self, ...args) =>
    this.#storage.run(to, () => fn.call(self as never, ...args));
  bind = <T>(_: Context, target: T): T => target;
  enable = () => this;
  disable = () => this;
}

context.setGlobalContextManager(new AsyncContexts());
const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);

function named(name: string): ReadableSpan {
  const found = exporter.getFinishedSpans().filter((span) => span.name === name);
  assert.equal(found.length, 1, `${name} among ${exporter.getFinishedSpans().map((s) => s.name)}`);
  return found[0];
}

function linked(parent: string, child: string): void {
  assert.equal(named(child).spanContext().traceId, named(parent).spanContext().traceId);
  assert.equal(named(child).parentSpanContext?.spanId, named(parent).spanContext().spanId);
  assert.equal(named(child).attributes["patchbay.transport"], "uds");
}

Deno.test("tracing: one trace shows both sides of a socket, for all three patterns", async () => {
  const runtimeDirectory = await Deno.makeTempDir({ prefix: "pb-" });
  const layers = [tracing(openTelemetry())];
  const common = {
    plugins: [uds],
    discover: false,
    configFile: false,
    runtimeDirectory,
    handleSignals: false,
    publishStatistics: false,
    layers,
  } as const;
  try {
    await using arm = await open({ ...common, module: "arm" });
    await using desk = await open({ ...common, module: "desk" });
    await arm.serve("arm/add", (n) => n as number + 1);
    await desk.serve("desk/add", (n) => n as number + 1);
    await arm.perform("arm/move", async function* () {
      yield await Promise.resolve("half");
      return await arm.call("desk/add", 1);
    });
    const heard = Promise.withResolvers<void>();
    const listener = await desk.listen("arm/pose", () => heard.resolve());
    const speaker = await arm.speaker("arm/pose");

    assert.equal(await desk.call("arm/add", 41), 42);
    linked("call arm/add", "serve arm/add");
    exporter.reset();

    const job = await desk.execute("arm/move", 1);
    assert.equal(await job.result, 2);
    linked("execute arm/move", "perform arm/move");
    linked("perform arm/move", "call desk/add");
    linked("call desk/add", "serve desk/add");
    exporter.reset();

    await speaker.shout({ x: 1 });
    await heard.promise;
    linked("shout arm/pose", "listen arm/pose");
    await listener.close();
  } finally {
    await Deno.remove(runtimeDirectory, { recursive: true });
  }
});

/** The one trace that all finished spans are of, and how many they are. */
function oneTrace(): number {
  const spans = exporter.getFinishedSpans();
  const traces = new Set(spans.map((span) => span.spanContext().traceId));
  assert.equal(traces.size, 1, spans.map((s) => `${s.name} ${s.spanContext().traceId}`).join("; "));
  exporter.reset();
  return spans.length;
}

Deno.test("tracing: calls and shouts over a bridge are of one trace, the bridge's own spans among it", async () => {
  const runtimeDirectory = await Deno.makeTempDir({ prefix: "pb-" });
  const config = { in_process: { room: new Room() } };
  const common = {
    plugins: [inProcess, uds],
    discover: false,
    configFile: false,
    runtimeDirectory,
    handleSignals: false,
    publishStatistics: false,
    layers: [tracing(openTelemetry())],
    config,
  } as const;
  try {
    await using arm = await open({ ...common, module: "arm" });
    await using joint = await open({ ...common, module: "joint" });
    await using desk = await open({ ...common, module: "desk", config: {} });
    await arm.serve("arm/add", (n) => n as number + 1, { via: ["in_process"] });
    const speaker = await arm.speaker("arm/pose", { via: ["in_process"] });
    const bridge = await joint.bridge({ from: "in_process", to: "uds" });
    const heard = Promise.withResolvers<void>();
    await using _ = await desk.listen("arm/pose", () => heard.resolve());
    await bridge.refresh();
    exporter.reset();
    assert.equal(await desk.call("arm/add", 41), 42);
    assert.equal(oneTrace(), 4, "call and serve, on either wire");
    await speaker.shout({ x: 1 });
    await heard.promise;
    await bridge.close();
    assert.equal(oneTrace(), 4, "shout and listen, on either wire");
  } finally {
    await Deno.remove(runtimeDirectory, { recursive: true });
  }
});
