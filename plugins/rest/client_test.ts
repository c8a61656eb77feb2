/**
 * rest as the client of services that are no Patchbay: base URLs, names, errors, retries, TLS.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { defineCallable, defineSpeaker, open, PatchbayError } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import rest, { type RestConfig } from "./mod.ts";
import { bayWith } from "./testdata/bay.ts";

const client = (config: Partial<RestConfig> = {}) =>
  open({ module: "client", plugins: [rest], config: { rest: config } });

async function refused(promise: Promise<unknown>, code: string): Promise<PatchbayError> {
  const error = await promise.then(() => undefined, (reason) => reason);
  assert.ok(error instanceof PatchbayError, String(error));
  assert.equal(error.code, code, error.message);
  return error;
}

/** A service by somebody else, and what it was asked. */
async function service(
  answer: (request: Request, url: URL) => Response | Promise<Response>,
): Promise<{ url: string; asked: Request[] } & AsyncDisposable> {
  const asked: Request[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    asked.push(request.clone());
    return answer(request, new URL(request.url));
  });
  return await Promise.resolve({
    url: `http://127.0.0.1:${server.addr.port}`,
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  });
}

Deno.test("rest: a foreign service is called by its own names, from a contract or per call", async () => {
  await using api = await service(async (request, { pathname, search }) =>
    Response.json({
      what: `${request.method} ${pathname}${search}`,
      key: request.headers.get("x-key"),
      body: request.method === "GET" ? null : await request.json().catch(() => null),
    })
  );
  const Get = defineCallable<{ id: number; q?: string[] }, unknown>({
    address: "users/get",
    native: { rest: { method: "GET", path: "/v1/users/:id", baseUrl: api.url } },
  });
  await using bay = await client({
    names: { "users/put": { method: "PUT", path: "/v1/users/:id", baseUrl: api.url } },
  });
  assert.deepEqual(await bay.call(Get, { id: 7, q: ["a b", "c"] }), {
    what: "GET /v1/users/7?q=a+b&q=c",
    key: null,
    body: null,
  });
  assert.deepEqual(await bay.call("users/put", { id: "a/b", name: "Ada" }), {
    what: "PUT /v1/users/a%2Fb",
    key: null,
    body: { name: "Ada" },
  });
  const native = {
    rest: { method: "DELETE", path: "/v2/:id", baseUrl: api.url, headers: { "x-key": "1" } },
  };
  for (const address of ["users/get", "any/thing"]) {
    assert.deepEqual(await bay.call(address, { id: 1, force: true }, { native }), {
      what: "DELETE /v2/1?force=true",
      key: "1",
      body: null,
    });
  }
  // A call's own name does not stick.
  assert.match(JSON.stringify(await bay.call(Get, { id: 8 })), /GET \/v1\/users\/8/);
  const missing = await refused(bay.call(Get, {} as never), "invalid");
  assert.match(missing.message, /request\.id/);
  await refused(bay.call(Get, { id: 1, q: { deep: 1 } as never }), "invalid");
  await refused(bay.call("nobody/home", 1), "not_found");
});

Deno.test("rest: a base URL for all, with headers and token of the configuration", async () => {
  await using api = await service((request, { pathname }) =>
    Response.json([pathname, request.headers.get("authorization"), request.headers.get("x-app")])
  );
  await using bay = await client({
    baseUrl: `${api.url}/api`,
    token: "s3cret",
    headers: { "x-app": "mine" },
  });
  assert.deepEqual(await bay.call("arm/move", 1), ["/api/arm/move", "Bearer s3cret", "mine"]);
  const [request] = api.asked;
  assert.deepEqual(await request.json(), 1);
  const bad = await refused(bay.call("a/b", 1, { headers: { "content-length": "3" } }), "invalid");
  assert.match(bad.message, /content-length/);
  await refused(bay.call("a/b", 1, { headers: { "patchbay-id": "3" } }), "invalid");
});

Deno.test("rest: foreign statuses are read as codes, texts and bytes as values", async () => {
  const statuses: Record<number, string> = {
    301: "protocol",
    400: "invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    408: "deadline_exceeded",
    409: "invalid",
    413: "too_large",
    429: "overloaded",
    500: "remote",
    502: "unavailable",
    503: "unavailable",
    504: "deadline_exceeded",
  };
  await using api = await service((_request, { pathname }) => {
    const [, kind, what] = pathname.split("/");
    if (kind === "status") return new Response("their own words", { status: Number(what) });
    if (kind === "problem") {
      return new Response(JSON.stringify({ title: "Sold out", detail: "no parts are left" }), {
        status: 409,
        headers: { "content-type": "application/problem+json" },
      });
    }
    if (what === "text") return new Response("plain");
    if (what === "bytes") {
      return new Response(Uint8Array.of(1, 2), { headers: { "content-type": "image/png" } });
    }
    if (what === "liar") {
      return new Response("{", { headers: { "content-type": "application/json" } });
    }
    return new Response(new Uint8Array(2000), { headers: { "content-type": "image/png" } });
  });
  await using bay = await client({ baseUrl: api.url, maxMessageBytes: 1000, retries: 0 });
  for (const [status, code] of Object.entries(statuses)) {
    const error = await refused(bay.call(`status/${status}`, 1), code);
    assert.match(error.message, /their own words/);
    assert.equal(error.transport, "rest");
  }
  assert.equal((await refused(bay.call("problem/x", 1), "invalid")).message, "no parts are left");
  assert.equal(await bay.call("value/text", 1), "plain");
  assert.deepEqual(await bay.call("value/bytes", 1), Uint8Array.of(1, 2));
  await refused(bay.call("value/liar", 1), "protocol");
  assert.deepEqual((await refused(bay.call("value/large", 1), "too_large")).details, {
    size: 2000,
    max: 1000,
  });
});

/** Answers the first request of each connection, and cuts it at every later one. */
function cutter(): { url: string; seen: string[] } & AsyncDisposable {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const seen: string[] = [];
  const serve = async (connection: Deno.Conn) => {
    const buffer = new Uint8Array(65_536);
    for (let first = true;; first = false) {
      const read = await connection.read(buffer).catch(() => null);
      if (read === null) break;
      seen.push(new TextDecoder().decode(buffer.subarray(0, read)).split(" ", 2).join(" "));
      if (!first) break;
      const answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n7";
      await connection.write(new TextEncoder().encode(answer));
    }
    connection.close();
  };
  const work: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) work.push(serve(connection));
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    seen,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(work);
    },
  };
}

for (const http2 of [false, true]) {
  const way = http2 ? "fetch" : "node:http";
  Deno.test(`rest (${way}): a call whose connection is lost is not made twice, unless it may be`, async () => {
    await using far = cutter();
    {
      await using bay = await client({ baseUrl: far.url, http2 });
      assert.equal(await bay.call("arm/move", 1), 7);
      // On the same connection, which is then cut: the far side may have moved the arm.
      await refused(bay.call("arm/move", 2), "closed");
      assert.deepEqual(far.seen, ["POST /arm/move", "POST /arm/move"]);
      const Safe = defineCallable<number, number>({ address: "arm/look", idempotent: true });
      assert.equal(await bay.call(Safe, 1), 7);
      assert.equal(await bay.call(Safe, 2), 7);
      assert.equal(far.seen.filter((line) => line === "POST /arm/look").length, 3);
      const [transport] = bay.statistics.snapshot(Date.now()).transports;
      assert.equal(transport.retries, 1);
    }
  });
}

Deno.test("rest: a host that is not there is unavailable, and tried again within the time", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await using bay = await client({ baseUrl: `http://127.0.0.1:${port}` });
  const error = await refused(bay.call("arm/move", 1), "unavailable");
  assert.ok(error.retryable);
  const [transport] = bay.statistics.snapshot(Date.now()).transports;
  assert.equal(transport.retries, 2);
});

Deno.test("rest: no more requests go to a host at once than allowed, the urgent ones first", async () => {
  let open = 0;
  let most = 0;
  const order: number[] = [];
  const gate = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  await using api = await service(async (request) => {
    most = Math.max(most, ++open);
    order.push(await request.json());
    entered.resolve();
    await gate.promise;
    open--;
    return Response.json(null);
  });
  await using bay = await client({ baseUrl: api.url, maxSockets: 1 });
  const first = bay.call("a/b", 0);
  await entered.promise;
  const rest = [bay.call("a/b", 1), bay.call("a/b", 2, { priority: 255 }), bay.call("a/b", 3)];
  const control = new AbortController();
  const impatient = bay.call("a/b", 4, { signal: control.signal });
  control.abort("enough");
  assert.equal(await impatient.catch((reason) => reason), "enough");
  gate.resolve();
  await Promise.all([first, ...rest]);
  assert.deepEqual([most, order], [1, [0, 2, 1, 3]]);
});

Deno.test("rest: a foreign event stream is listened to", async () => {
  await using api = await service((request) => {
    const last = request.headers.get("last-event-id");
    const events = last === null
      ? 'retry: 10\n\n: hello\n\nid: 5\ndata: {"x": 1}\n\nevent: odd\ndata: plain\ndata: words\n\n'
      : `data: ${JSON.stringify(last)}\n\n`;
    return new Response(events, { headers: { "content-type": "text/event-stream" } });
  });
  await using bay = await client({ reconnectMinMs: 10 });
  const Ticker = defineSpeaker<unknown>({
    address: "ticker/price",
    native: { rest: { baseUrl: api.url, path: "/stream" } },
  });
  const heard: unknown[] = [];
  const three = Promise.withResolvers<void>();
  const listener = await bay.listen(Ticker, (value, { sequence }) => {
    heard.push([value, sequence]);
    if (heard.length === 3) three.resolve();
  });
  await three.promise;
  await listener.close();
  assert.deepEqual(heard.slice(0, 3), [[{ x: 1 }, 1], ["plain\nwords", 2], ["5", 3]]);
  const Wrong = defineSpeaker<unknown>({
    address: "ticker/none",
    native: { rest: { baseUrl: "http://127.0.0.1:1", path: "/none" } },
  });
  // Who is not there now is looked for: it holds up nobody, and the wire says so.
  const waiting = await bay.listen(Wrong, () => {});
  assert.equal(bay.wires()[0].health?.status, "degraded");
  await waiting.close();
});

const openssl = await requireOrIgnore("openssl", async () => {
  const command = new Deno.Command("openssl", { args: ["version"], stdout: "null" });
  return (await command.output()).success;
}, "apt-get install openssl");

/** Certificates of an authority made for one test. */
async function certificates(): Promise<
  Record<"ca" | "cert" | "key" | "userCert" | "userKey", string>
> {
  const folder = await Deno.makeTempDir({ prefix: "pb-tls-" });
  const script = fileURLToPath(new URL("./testdata/certificates.sh", import.meta.url));
  const { success, stderr } = await new Deno.Command("sh", { args: [script, folder] }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  const read = (name: string) => Deno.readTextFile(`${folder}/${name}.pem`);
  const all = {
    ca: await read("ca"),
    cert: await read("server"),
    key: await read("server-key"),
    userCert: await read("user"),
    userKey: await read("user-key"),
  };
  await Deno.remove(folder, { recursive: true });
  return all;
}

Deno.test({
  name: openssl.name("rest: TLS with an authority of one's own, HTTP/2 where it is wanted"),
  ignore: openssl.ignore,
  fn: async () => {
    const { ca, cert, key } = await certificates();
    for (const listener of ["quick", "guarded"] as const) {
      await using far = await bayWith({ listener, tls: { cert, key } });
      assert.match(far.url, /^https:/);
      await far.serve("arm/echo", (value) => value);
      const baseUrl = far.url.replace("127.0.0.1", "localhost");
      for (const http2 of [false, true]) {
        await using bay = await client({ baseUrl, http2, tls: { ca: [ca] } });
        assert.equal(await bay.call("arm/echo", http2), http2);
      }
      await using stranger = await client({ baseUrl, retries: 0 });
      const error = await refused(stranger.call("arm/echo", 1), "unavailable");
      assert.match(error.remedy ?? "", /tls\.ca/);
      const warnings: string[] = [];
      const { warn } = console;
      console.warn = (text: string) => void warnings.push(text);
      try {
        const tls = { dangerouslyAcceptAnyCertificate: true };
        await using careless = await client({ baseUrl, tls });
        assert.equal(await careless.call("arm/echo", 1), 1);
      } finally {
        console.warn = warn;
      }
      assert.equal(
        warnings.filter((text) => /dangerouslyAcceptAnyCertificate/.test(text)).length,
        1,
      );
      const http = Deno.createHttpClient({ caCerts: [ca], http1: false });
      const over = await fetch(`${baseUrl}/openapi.json`, { client: http }).then(
        async (answer) => {
          await answer.body?.cancel();
          return answer.ok;
        },
        () => false,
      );
      http.close();
      assert.equal(over, listener === "quick", "HTTP/2 is the quick listener's");
    }
  },
});

Deno.test({
  name: openssl.name("rest: a server that asks for client certificates knows who calls"),
  ignore: openssl.ignore,
  fn: async () => {
    const { ca, cert, key, userCert, userKey } = await certificates();
    await using far = await bayWith({ tls: { cert, key, clientCa: ca } });
    await far.serve("arm/who", (_value, { peer }) => peer.identity);
    const baseUrl = far.url.replace("127.0.0.1", "localhost");
    const own = { ca: [ca], clientCert: userCert, clientKey: userKey };
    await using known = await client({ baseUrl, tls: own });
    assert.equal(await known.call("arm/who", 1), "ada");
    await using stranger = await client({ baseUrl, tls: { ca: [ca] }, retries: 0 });
    const error = await refused(stranger.call("arm/who", 1), "unauthenticated");
    assert.match(error.remedy ?? "", /clientCert/);
  },
});
