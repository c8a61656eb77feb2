import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Context,
  context,
  type ContextManager,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "npm:@opentelemetry/sdk-trace-base@2.12.1";
import inProcess, { Room } from "@patchbay/in_process";
import {
  type Bay,
  defineCallable,
  type OpenOptions,
  Patchbay,
  PatchbayError,
  type Plugin,
  retry,
  tracing,
} from "../mod.ts";
import { openTelemetry } from "../open_telemetry.ts";

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
const telemetry = openTelemetry();

/** The spans that have ended since the last look, by name. */
function spans(): Map<string, ReadableSpan[]> {
  const byName = Map.groupBy(exporter.getFinishedSpans(), (span) => span.name);
  exporter.reset();
  return byName;
}

function only(of: Map<string, ReadableSpan[]>, name: string): ReadableSpan {
  const found = of.get(name) ?? [];
  assert.equal(found.length, 1, `${name} among ${[...of.keys()]}`);
  return found[0];
}

async function opened(options: Partial<OpenOptions> = {}): Promise<Bay> {
  spans();
  return await Patchbay.open({ module: "math", plugins: [inProcess], telemetry, ...options });
}

function linked(parent: ReadableSpan, child: ReadableSpan): void {
  assert.equal(child.spanContext().traceId, parent.spanContext().traceId);
  assert.equal(child.parentSpanContext?.spanId, parent.spanContext().spanId);
}

Deno.test("tracing: one trace shows caller, handler and what the handler does", async () => {
  await using bay = await opened();
  const seen: Record<string, string>[] = [];
  await bay.serve("math/inner", (_, { headers }) => void seen.push(headers));
  await bay.serve("math/outer", async (n, { headers }) => {
    seen.push(headers);
    await Promise.resolve();
    await bay.call("math/inner", n);
    return "done";
  });
  assert.equal(await bay.call("math/outer", 1, { headers: { mine: "kept" } }), "done");
  const made = spans();
  const [call, serve, inner, innermost] = [
    "call math/outer",
    "serve math/outer",
    "call math/inner",
    "serve math/inner",
  ].map((name) => only(made, name));
  linked(call, serve);
  linked(serve, inner);
  linked(inner, innermost);
  assert.deepEqual([call.kind, serve.kind], [SpanKind.CLIENT, SpanKind.SERVER]);
  assert.equal(call.attributes["patchbay.transport"], "in_process");
  assert.equal(serve.attributes["patchbay.transport"], "in_process");
  assert.equal(call.status.code, SpanStatusCode.UNSET);
  assert.equal(seen[0].mine, "kept");
  assert.equal(seen[0].traceparent.split("-")[2], call.spanContext().spanId);
});

Deno.test("tracing: errors are recorded on both sides, with their code", async () => {
  await using bay = await opened();
  await bay.serve("math/fail", (how) => {
    if (how === "later") return Promise.reject(new PatchbayError("forbidden", "not you"));
    throw new RangeError("too far");
  });
  for (
    const [how, client, server] of [
      ["now", "remote", "RangeError"],
      ["later", "forbidden", "forbidden"],
    ]
  ) {
    await assert.rejects(bay.call("math/fail", how));
    const made = spans();
    assert.equal(only(made, "call math/fail").attributes["error.type"], client);
    assert.equal(only(made, "serve math/fail").attributes["error.type"], server);
    assert.equal(only(made, "call math/fail").status.code, SpanStatusCode.ERROR);
  }
});

Deno.test("tracing: a call that is given up ends its span", async () => {
  await using bay = await opened();
  const gate = Promise.withResolvers<void>();
  await bay.serve("math/hang", () => gate.promise);
  await assert.rejects(bay.call("math/hang", 1, { timeoutMs: 5 }));
  assert.equal(only(spans(), "call math/hang").attributes["error.type"], "deadline_exceeded");
  const caller = bay.callable("math/hang");
  await caller.bind();
  const control = new AbortController();
  const call = assert.rejects(caller.call(1, { signal: control.signal }), { name: "AbortError" });
  control.abort();
  await call;
  assert.equal(only(spans(), "call math/hang").attributes["error.type"], "AbortError");
  gate.resolve();
});

Deno.test("tracing: a shout is a producer, a callback its consumer", async () => {
  await using bay = await opened();
  await bay.listen("math/*", async (_, { headers }) => {
    await Promise.resolve();
    await bay.call("math/note", headers?.mine);
  });
  const noted = Promise.withResolvers<void>();
  const notes: unknown[] = [];
  await bay.serve("math/note", (value) => {
    if (notes.push(value) === 2) noted.resolve();
  });
  const speaker = await bay.speaker("math/log");
  await speaker.shout(1, { headers: { mine: "kept" } });
  // A callback is called again only when it has ended.
  await speaker.shout(2, { headers: { mine: "too" } });
  await noted.promise;
  assert.deepEqual(notes, ["kept", "too"]);
  const made = spans();
  const shout = made.get("shout math/log")![0];
  const listen = made.get("listen math/log")![0];
  linked(shout, listen);
  assert.deepEqual([shout.kind, listen.kind], [SpanKind.PRODUCER, SpanKind.CONSUMER]);
  linked(listen, made.get("call math/note")![0]);
  assert.equal(listen.attributes["patchbay.transport"], "in_process");
});

Deno.test("tracing: a shout that is refused, and a callback that throws, record it", async () => {
  await using bay = await opened();
  await bay.listen("math/log", () => {
    throw new RangeError("too far");
  });
  await bay.listen("math/log", { overflow: "block", maxQueue: 1 });
  const speaker = await bay.speaker("math/log");
  speaker.shout(1);
  speaker.shout(2);
  assert.throws(() => void speaker.shout(3), { code: "overloaded" });
  const made = spans();
  const refused = made.get("shout math/log")?.filter((span) => span.status.code !== 0) ?? [];
  assert.equal(refused[0].attributes["error.type"], "overloaded");
  assert.equal(made.get("listen math/log")?.[0].attributes["error.type"], "RangeError");
});

Deno.test("tracing: a job's span lasts to its end, and a generator runs inside its worker's", async () => {
  await using bay = await opened();
  await bay.serve("math/note", () => {});
  await bay.perform("math/plain", async (_, { feedback }) => {
    feedback(1);
    await bay.call("math/note", 1);
    return "done";
  });
  await bay.perform("math/steps", async function* () {
    yield 1;
    await bay.call("math/note", 2);
    yield 2;
    return "done";
  });
  for (const address of ["math/plain", "math/steps"]) {
    const job = await bay.execute(address, 1);
    const heard: unknown[] = [];
    for await (const value of job.feedback) heard.push(value);
    assert.equal(await job.result, "done");
    assert.deepEqual(heard, address === "math/plain" ? [1] : [1, 2]);
    const made = spans();
    const execute = only(made, `execute ${address}`);
    const perform = only(made, `perform ${address}`);
    linked(execute, perform);
    linked(perform, only(made, "call math/note"));
    assert.deepEqual(execute.events.map((event) => event.name), ["accepted"]);
  }
});

Deno.test("tracing: a job that fails, is cancelled or abandoned ends its span with that", async () => {
  await using bay = await opened();
  await bay.perform("math/fail", () => {
    throw new PatchbayError("invalid", "no such sum");
  });
  await bay.perform("math/steps", async function* () {
    yield await Promise.resolve(1);
    throw new RangeError("too far");
  });
  await assert.rejects((await bay.execute("math/fail", 1)).result);
  await assert.rejects((await bay.execute("math/steps", 1)).result);
  let made = spans();
  assert.equal(only(made, "execute math/fail").attributes["error.type"], "invalid");
  assert.equal(only(made, "perform math/fail").attributes["error.type"], "invalid");
  assert.equal(only(made, "perform math/steps").attributes["error.type"], "RangeError");
  await bay.perform(
    "math/hang",
    (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  );
  const cancelled = await bay.execute("math/hang", 1);
  cancelled.cancel(new Error("changed my mind"));
  await assert.rejects(cancelled.result);
  const abandoned = await bay.execute("math/hang", 1, { timeoutMs: 5 });
  await assert.rejects(abandoned.result, { code: "deadline_exceeded" });
  made = spans();
  const [first, second] = made.get("execute math/hang") ?? [];
  assert.deepEqual(first.events.map((event) => event.name), ["accepted", "cancel", "exception"]);
  assert.equal(second.attributes["error.type"], "deadline_exceeded");
});

Deno.test("tracing: telemetry stands inside the layers: each attempt of a retry has a span", async () => {
  await using bay = await opened({ layers: [retry({ minMs: 0 })] });
  let asked = 0;
  const Read = defineCallable({ address: "math/read", idempotent: true });
  await bay.serve(Read, () => {
    if (++asked === 1) throw new PatchbayError("unavailable", "not yet");
  });
  await bay.call(Read, 1);
  const made = spans();
  assert.deepEqual(
    made.get("call math/read")?.map((span) => span.attributes["error.type"]),
    ["unavailable", undefined],
  );
  assert.equal(made.get("serve math/read")?.length, 2);
});

Deno.test("tracing: on a wire without headers nothing travels, and the spans are made", async () => {
  const plugin: Plugin = inProcess as Plugin;
  const mute: Plugin = { ...plugin, traits: { ...plugin.traits, headers: false } };
  await using bay = await opened({ plugins: [mute] });
  let seen: unknown;
  await bay.serve("math/see", (_, { headers }) => void (seen = headers));
  await bay.call("math/see", 1);
  assert.deepEqual(seen, {});
  const made = spans();
  const [call, serve] = [only(made, "call math/see"), only(made, "serve math/see")];
  assert.notEqual(call.spanContext().traceId, serve.spanContext().traceId);
});

Deno.test("tracing: a server on two wires runs its handler in one span", async () => {
  const other: Plugin = { ...inProcess as Plugin, name: "other", rank: 1 };
  await using bay = await opened({
    plugins: [inProcess as Plugin, other],
    telemetry: undefined,
    layers: [tracing(telemetry)],
    config: { in_process: { room: new Room() }, other: { room: new Room() } },
  });
  await bay.serve("math/add", () => 1);
  await bay.call("math/add", 1);
  await bay.call("math/add", 1, { via: ["other"] as never });
  const made = spans();
  assert.equal(made.get("serve math/add")?.length, 2);
  assert.deepEqual(
    made.get("call math/add")?.map((span) => span.attributes["patchbay.transport"]),
    ["in_process", "other"],
  );
});
