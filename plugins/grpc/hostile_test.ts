import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Patchbay, PatchbayError } from "@patchbay/core";
import grpc, { loadProto } from "./mod.ts";
import { messages, PATH } from "./messages.ts";
import { FRAME, frame, RawClient, type RawFrame } from "./raw_client.ts";
import { GrpcServer } from "./server.ts";

/** A server of another make: what it says on the streams that a bay opens is the test's. */
async function foreignServer(): Promise<GrpcServer> {
  const server = new GrpcServer({
    place: { hostname: "127.0.0.1", port: 0 },
    tls: undefined,
    tokens: undefined,
    maxReceiveBytes: 1024,
    maxConnections: 10,
    maxStreams: 100,
    graceMs: 0,
    keepaliveMs: 0,
    keepaliveTimeoutMs: 1000,
    onConnections() {},
    onRefused() {},
    onError() {},
  });
  await server.listen();
  return server;
}

Deno.test("hostile: an error's text that is no Unicode ends its own call, and not the program", async () => {
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
  });
  await arm.serve("arm/half", async (text: string) => {
    await Promise.resolve();
    throw new Error(`no such thing: ${text}`);
  });
  await arm.perform("arm/half_job", async (text: string) => {
    await Promise.resolve();
    throw new Error(`no such thing: ${text}`);
  });
  await using desk = await Patchbay.open({
    module: "desk",
    plugins: [grpc],
    config: { grpc: { peers: [arm.transport(grpc).url] } },
  });
  // The second one is whole until it is cut to the length that a header may have.
  for (const text of ["\ud800", "x" + "😀".repeat(2000)]) {
    const code = (error: PatchbayError) => error.code;
    assert.equal(await desk.call("arm/half", text).then(() => "", code), "remote");
    const job = await desk.execute("arm/half_job", text);
    assert.equal(await job.result.then(() => "", code), "remote");
  }
});

Deno.test("hostile: a peer whose presence cannot be read is one that does not answer, and says why", async () => {
  const server = await foreignServer();
  server.stream(`${PATH}WatchPresence`, (stream) => {
    stream.on("data", () => stream.write(Buffer.from([0x0a, 0xff])));
  });
  const desk = await Patchbay.open({
    module: "desk",
    plugins: [grpc],
    config: { grpc: { peers: [server.url] } },
  });
  const error = await desk.call("arm/echo", 1).then(() => assert.fail(), (e) => e);
  assert.equal(error.code, "not_found");
  assert.match(JSON.stringify(error.details), /no patchbay\.v1\.Presence/);
  await desk.close();
  await server.close();
});

async function until(what: string, claim: () => boolean | Promise<boolean>): Promise<void> {
  const late = AbortSignal.timeout(20_000);
  while (!await claim()) {
    if (late.aborted) assert.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

Deno.test("gate: a call whose caller gives up while it waits never runs, and makes room for others", async () => {
  const arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 }, maxCalls: 1, maxWaitingCalls: 2 } },
  });
  const ran: number[] = [];
  const go = Promise.withResolvers<void>();
  await arm.serve("arm/slow", async (n: number) => {
    ran.push(n);
    await go.promise;
    return n;
  });
  const desk = await Patchbay.open({
    module: "desk",
    plugins: [grpc],
    config: { grpc: { peers: [arm.transport(grpc).url] } },
  });
  const code = (error: PatchbayError) => error.code;
  const slow = desk.callable<number, number>("arm/slow");
  const first = slow.call(0, { timeoutMs: 60_000 });
  await until("the first one runs", () => ran.length === 1);
  const gaveUp = new AbortController();
  const waiting = [
    slow.call(1, { timeoutMs: 200 }).then(() => "", code),
    slow.call(2, { timeoutMs: 60_000, signal: gaveUp.signal }).catch((reason) => reason),
  ];
  assert.equal(await waiting[0], "deadline_exceeded");
  gaveUp.abort("no more");
  assert.equal(await waiting[1], "no more");
  // The server hears of that a moment later.
  let attempts = 0;
  const third = (async () => {
    for (;;) {
      attempts++;
      const outcome = await slow.call(3, { timeoutMs: 60_000 }).catch(code);
      if (outcome !== "overloaded") return outcome;
    }
  })();
  await until("there is room", async () => {
    const before = attempts;
    await pause(100);
    return attempts === before;
  });
  go.resolve();
  assert.deepEqual([await first, await third], [0, 3]);
  assert.deepEqual(ran, [0, 3]);
  await desk.close();
  await arm.close();
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("hostile: who opens streams without end loses the connection, and nobody else does", async () => {
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
  });
  await arm.serve("arm/echo", (value) => value);
  const { url } = arm.transport(grpc);
  await using desk = await Patchbay.open({
    module: "desk",
    plugins: [grpc],
    config: { grpc: { peers: [url] } },
  });
  assert.equal(await desk.call("arm/echo", 1), 1);
  using stranger = await RawClient.connect(Number(url.split(":").at(-1)));
  const reading = stranger.ended(-1);
  let opened = 0;
  try {
    for (; opened < 200_000; opened++) await stranger.write(stranger.begin(`${PATH}Listen`)[1]);
  } catch {
    // It was cut.
  }
  assert.ok(opened < 200_000);
  assert.equal(await reading, undefined);
  assert.equal(await desk.call("arm/echo", 2), 2);
  const known = () => arm.statistics.snapshot(Date.now()).transports[0].connections;
  await until("only the other one is connected", () => known() === 1);
});

Deno.test("hostile: who ends a stream without a word is told that something is missing", async () => {
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
  });
  const port = Number(arm.transport(grpc).url.split(":").at(-1));
  for (const path of [`${PATH}Listen`, `${PATH}Execute`, "/grpc.health.v1.Health/Watch"]) {
    using client = await RawClient.connect(port);
    const [stream, begin] = client.begin(path);
    await client.write(begin, frame(FRAME.data, 1, stream));
    assert.equal((await client.ended(stream))?.type, FRAME.headers, path);
  }
});

Deno.test("authorize: what one connection asks for makes nobody else be asked again", async () => {
  const asked: string[] = [];
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
    authorize: (peer, _verb, address) => {
      asked.push(`${peer.module} ${address}`);
      return true;
    },
  });
  await arm.serve("arm/echo", (value) => value);
  const { url } = arm.transport(grpc);
  await using desk = await Patchbay.open({
    module: "desk",
    plugins: [grpc],
    config: { grpc: { peers: [url] } },
  });
  assert.equal(await desk.call("arm/echo", 1), 1);
  using other = await RawClient.connect(Number(url.split(":").at(-1)));
  for (let n = 0; n < 4100; n++) {
    const [stream, begin] = other.begin(`${PATH}Listen`);
    const request = messages().listenRequest.encode({ pattern: `arm/t${n}` });
    await other.write(begin, other.message(stream, request, false));
  }
  await until("all are asked for", () => asked.length === 4101);
  assert.equal(await desk.call("arm/echo", 2), 2);
  assert.equal(asked.filter((one) => one === "desk arm/echo").length, 1);
});

Deno.test("tokens: a stranger's stream is ended at once, also if it never says anything", async () => {
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 }, tokens: { desk: "open sesame" } } },
  });
  const { url } = arm.transport(grpc);
  const methods = ["Call", "Listen", "Execute", "WatchPresence"].map((name) => PATH + name);
  methods.push("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch");
  methods.push("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
  const shown: Record<string, string>[] = [{}, { authorization: "Bearer " }, {
    authorization: "Bearer other",
  }];
  for (const headers of shown) {
    for (const path of methods) {
      using stranger = await RawClient.connect(Number(url.split(":").at(-1)));
      const [stream, begin] = stranger.begin(path, headers);
      await stranger.write(begin);
      assert.equal((await stranger.ended(stream))?.type, FRAME.headers, path);
    }
  }
  const { transports } = arm.statistics.snapshot(Date.now());
  const { errors } = transports.find(({ name }) => name === "grpc") ?? assert.fail();
  assert.equal(errors.unauthenticated, methods.length * 3);
});

/** Whether the first thing that is answered is a status, and the last as well. */
function isRefusal({ type, flags }: RawFrame): boolean {
  return type === FRAME.headers && (flags & 1) > 0;
}

Deno.test("hostile: who does not read its answers gets no more of them, until they have gone", async () => {
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
  });
  const large = "x".repeat(1024 * 1024);
  await arm.serve("arm/large", () => large);
  using client = await RawClient.connect(Number(arm.transport(grpc).url.split(":").at(-1)), 0);
  const request = messages().callRequest.encode({ address: "arm/large" });
  const call = async () => {
    const [stream, begin] = client.begin(`${PATH}Call`);
    await client.write(begin, client.message(stream, request, true));
    return stream;
  };
  const answerTo = async (stream: number) => {
    for (let next = await client.read(); next !== undefined; next = await client.read()) {
      if (next.stream === stream && next.type === FRAME.headers) return next;
    }
    return assert.fail("the connection was cut");
  };
  const unread: number[] = [];
  for (let n = 0; n < 70; n++) {
    const stream = await call();
    if (!isRefusal(await answerTo(stream))) unread.push(stream);
  }
  assert.equal(unread.length, 64);
  const [first] = unread;
  await client.write(client.reset(first));
  let refused = 6;
  await until("one answer less waits", async () => {
    if (!isRefusal(await answerTo(await call()))) return true;
    refused++;
    return false;
  });
  assert.equal(isRefusal(await answerTo(await call())), true);
  const { endpoints } = arm.statistics.snapshot(Date.now());
  const errors = endpoints.find(({ address }) => address === "arm/large")?.errors;
  assert.equal(errors?.overloaded, refused + 1);
});

Deno.test("hostile: what listeners of one connection leave unread is bounded together", async () => {
  await using arm = await Patchbay.open({
    module: "arm",
    plugins: [grpc],
    config: { grpc: { listen: { port: 0 } } },
  });
  const speaker = await arm.speaker<string>("arm/large");
  using client = await RawClient.connect(Number(arm.transport(grpc).url.split(":").at(-1)), 0);
  const request = messages().listenRequest.encode({ pattern: "arm/large", maxQueue: 60_000 });
  for (let n = 0; n < 3; n++) {
    const [stream, begin] = client.begin(`${PATH}Listen`);
    await client.write(begin, client.message(stream, request, false));
  }
  await until("they listen", () => speaker.listeners === 3);
  const large = "x".repeat(1024 * 1024);
  for (let n = 0; n < 120; n++) await speaker.shout(large);
  const { endpoints } = arm.statistics.snapshot(Date.now());
  const { drops } = endpoints.find(({ address }) => address === "arm/large") ?? assert.fail();
  // Of 360 each stream of grpc-js itself holds a few, and 64 MiB wait for the connection.
  const dropped = Object.values(drops).reduce((sum, one) => sum + one, 0);
  assert.ok(dropped >= 360 - 64 - 3 * 20, String(dropped));
});

Deno.test("hostile: a .proto imports nothing from outside its folders, and a URL is no path", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pb-" });
  await Deno.mkdir(`${folder}/in/sub`, { recursive: true });
  await Deno.writeTextFile(`${folder}/secret.proto`, "geheim");
  await Deno.writeTextFile(`${folder}/in/sub/part.proto`, 'syntax = "proto3"; message Part {}');
  const file = `${folder}/in/main.proto`;
  const load = async (target: string, includeDirs: string[] = []) => {
    await Deno.writeTextFile(
      file,
      `syntax = "proto3"; import "${target}"; message M {} service S { rpc Do(M) returns (M); }`,
    );
    return loadProto(file, { includeDirs }).services;
  };
  assert.deepEqual(await load("sub/part.proto"), ["S"]);
  const outside = [
    "../secret.proto",
    "sub/../../secret.proto",
    `${folder}/secret.proto`,
    "./a",
    "",
  ];
  for (const target of outside) {
    const error = await load(target, ["/"]).then(() => assert.fail(target), (e) => e);
    assert.equal(error.code, "invalid", error.message);
    assert.match(error.message, /leaves the folders/);
    assert.doesNotMatch(error.message, /geheim/);
  }
  await Deno.remove(folder, { recursive: true });
  assert.throws(() => loadProto(new URL("https://example.org/etc/hostname")), { code: "invalid" });
});
