/**
 * Who and what rest does not let in: slow, half-open and garbled requests, strangers, pages.
 *
 * @module
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import type { MiddlewareHandler } from "npm:hono@4.13.19";
import { defineCallable, open, PatchbayError } from "@patchbay/core";
import { requireOrIgnore } from "../../tests/require.ts";
import rest, { type RestConfig } from "./mod.ts";
import { bayWith, counted, LISTENERS, post, problem } from "./testdata/bay.ts";

/** Patience that a test has. */
const IMPATIENT = {
  listener: "guarded",
  headersTimeoutMs: 300,
  requestTimeoutMs: 600,
  keepAliveTimeoutMs: 300,
} as const;

/** A certificate or key made for tests. */
function pem(name: string): Promise<string> {
  return Deno.readTextFile(new URL(`../websocket/testdata/certs/${name}`, import.meta.url));
}

/** Writes a text to a port, and reads until the other side closes. */
function talk(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const watchdog = setTimeout(
      () => socket.destroy(new Error(`still open, after: ${reply}`)),
      30_000,
    );
    socket.on("close", () => clearTimeout(watchdog));
    let reply = "";
    socket.on("connect", () => socket.write(text));
    socket.on("data", (data) => reply += data);
    socket.on("close", () => resolve(reply));
    socket.on("error", reject);
  });
}

const HEAD = "POST /arm/move HTTP/1.1\r\nHost: localhost\r\n";

Deno.test("rest (guarded): what is half sent is given up with 408, and others are not disturbed", async () => {
  await using bay = await bayWith(IMPATIENT);
  await bay.serve("arm/move", (value) => value);
  const slow = [
    talk(bay.url, `${HEAD}X-Half: `),
    talk(bay.url, ""),
    talk(bay.url, `${HEAD}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{`),
  ];
  let open = true;
  const ended = Promise.all(slow).finally(() => open = false);
  let calls = 0;
  while (open) {
    assert.equal(await (await fetch(`${bay.url}/arm/move`, post(++calls))).json(), calls);
  }
  for (const reply of await ended) assert.match(reply, /^HTTP\/1\.1 408 Request Timeout\r\n/);
  assert.equal(counted(bay).errors.deadline_exceeded, 3);
});

Deno.test("rest (guarded): a slow drip of header lines does not keep a connection", async () => {
  await using bay = await bayWith(IMPATIENT);
  const { hostname, port } = new URL(bay.url);
  const socket = connect(Number(port), hostname);
  const closed = new Promise<string>((resolve) => {
    let reply = "";
    socket.on("data", (data) => reply += data);
    socket.on("close", () => resolve(reply));
    socket.on("error", () => {});
  });
  socket.write(HEAD);
  const drip = setInterval(() => socket.write("X-Drip: 1\r\n"), 50);
  assert.match(await closed, /408/);
  clearInterval(drip);
});

Deno.test("rest (guarded): garbage is 400, too long a header 431, another version 505; counted", async () => {
  await using bay = await bayWith({ ...IMPATIENT, maxHeaderBytes: 2048 });
  await bay.serve("arm/move", (value) => value);
  const cases: [string, RegExp][] = [
    ["\x00\x01garbage\r\n\r\n", /^HTTP\/1\.1 400 /],
    [`${HEAD}X-Long: ${"a".repeat(4096)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ["GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", /^HTTP\/1\.1 505 HTTP Version/],
    [`${HEAD}Content-Length: nonsense\r\n\r\n`, /^HTTP\/1\.1 400 /],
  ];
  for (const [text, expected] of cases) assert.match(await talk(bay.url, text), expected);
  const { errors } = counted(bay);
  assert.deepEqual([errors.too_large, errors.protocol, errors.invalid], [1, 1, 2]);
  assert.equal(await (await fetch(`${bay.url}/arm/move`, post(1))).json(), 1);
});

Deno.test("rest (quick): a header of a megabyte is refused, by Deno.serve itself", async () => {
  await using bay = await bayWith({ listener: "quick" });
  await bay.serve("arm/move", (value) => value);
  const reply = await talk(bay.url, `${HEAD}X-Long: ${"a".repeat(1024 * 1024)}\r\n\r\n`)
    .catch(() => "");
  assert.match(reply, /^(HTTP\/1\.1 431 |$)/);
  assert.equal(await (await fetch(`${bay.url}/arm/move`, post(1))).json(), 1);
});

Deno.test("rest (guarded): a half-open connection is closed when it has been idle too long", async () => {
  await using bay = await bayWith(IMPATIENT);
  await bay.serve("arm/move", (value) => value);
  const reply = await talk(
    bay.url,
    `${HEAD}Content-Type: application/json\r\nContent-Length: 1\r\n\r\n5`,
  );
  assert.match(reply, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n5$/);
});

Deno.test("rest (guarded): one connection more than allowed is refused, the others go on", async () => {
  await using bay = await bayWith({ ...IMPATIENT, maxConnections: 2, keepAliveTimeoutMs: 5000 });
  const gate = Promise.withResolvers<string>();
  const entered = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let count = 0;
  await bay.serve("arm/wait", () => {
    entered[count++]?.resolve();
    return gate.promise;
  });
  const calls = [1, 2].map((n) => fetch(`${bay.url}/arm/wait`, post(n)));
  await Promise.all(entered.map((one) => one.promise));
  const reply = await talk(bay.url, `${HEAD}\r\n`);
  assert.match(reply, /^HTTP\/1\.1 503 [^]*connection: close/i);
  assert.equal(counted(bay).errors.unavailable, 1);
  gate.resolve("open");
  for (const call of calls) assert.equal(await (await call).json(), "open");
});

Deno.test("rest (guarded): with TLS too, one connection more than allowed is refused", async () => {
  const [cert, key, ca] = await Promise.all(["server.pem", "server.key", "own-ca.pem"].map(pem));
  await using bay = await bayWith({ ...IMPATIENT, maxConnections: 1, tls: { cert, key } });
  const port = Number(new URL(bay.url).port);
  const dial = () => Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca] });
  const gate = Promise.withResolvers<string>();
  using _open = { [Symbol.dispose]: () => gate.resolve("open") };
  const entered = Promise.withResolvers<void>();
  await bay.serve("arm/wait", () => {
    entered.resolve();
    return gate.promise;
  });
  const asked = new TextEncoder().encode(
    `${HEAD.replace("move", "wait")}Content-Length: 0\r\n\r\n`,
  );
  using first = await dial();
  await first.write(asked);
  await entered.promise;
  const second = await dial();
  await second.write(asked);
  const reply = await new Response(second.readable).text();
  assert.match(reply, /^HTTP\/1\.1 503 [^]*connection: close/i);
  assert.equal(counted(bay).errors.unavailable, 1);
});

Deno.test("rest (quick): one request more than allowed is 503, the others go on", async () => {
  await using bay = await bayWith({ listener: "quick", maxConnections: 2 });
  const gate = Promise.withResolvers<string>();
  const entered = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let count = 0;
  await bay.serve("arm/wait", () => {
    entered[count++]?.resolve();
    return gate.promise;
  });
  const calls = [1, 2].map((n) => fetch(`${bay.url}/arm/wait`, post(n)));
  await Promise.all(entered.map((one) => one.promise));
  await problem(await fetch(`${bay.url}/arm/wait`, post(3)), 503, "overloaded");
  gate.resolve("open");
  for (const call of calls) assert.equal(await (await call).json(), "open");
});

Deno.test("rest (guarded): who is not let in loses the connection, others keep theirs", async () => {
  await using bay = await bayWith({
    listener: "guarded",
    keepAliveTimeoutMs: 600_000,
    auth: { tokens: { ada: "secret" } },
  });
  await bay.serve("arm/move", (value) => value);
  const one = (more: string) => `${HEAD}Content-Length: 0\r\n${more}\r\n`;
  const [known, last] = [
    "Authorization: Bearer secret\r\n",
    "Authorization: Bearer secret\r\nConnection: close\r\n",
  ];
  const statuses = async (...asked: string[]) =>
    (await talk(bay.url, asked.map(one).join(""))).match(/(?<=HTTP\/1\.1 )\d+/g)?.map(Number);
  assert.deepEqual(await statuses(known, known, last), [204, 204, 204]);
  // The connection ends with the first refusal: it is not waited for more.
  assert.deepEqual(await statuses(known, ""), [204, 401]);
  assert.deepEqual(await statuses("Origin: https://evil.example\r\n"), [403]);
});

for (const listener of LISTENERS) {
  Deno.test(`rest (${listener}): tokens, keys and a hook say who calls; others are 401, and counted`, async () => {
    await using bay = await bayWith({
      listener,
      auth: {
        tokens: { ada: "ada-secret" },
        apiKeys: { robot: "key-1" },
        apiKeyHeader: "x-robot-key",
        authenticate: ({ headers, path }) =>
          headers.get("x-badge") === "gold" && path === "/arm/who" ? "visitor" : undefined,
      },
    });
    const seen: unknown[] = [];
    await bay.serve("arm/who", (_value, { peer, headers }) => {
      seen.push({ ...headers });
      return peer.identity;
    });
    const ask = (headers: Record<string, string>) =>
      fetch(`${bay.url}/arm/who`, { method: "POST", headers });
    const who = async (headers: Record<string, string>) => await (await ask(headers)).json();
    assert.equal(await who({ authorization: "Bearer ada-secret" }), "ada");
    assert.equal(await who({ "x-robot-key": "key-1", mine: "1" }), "robot");
    assert.equal(await who({ "x-badge": "gold" }), "visitor");
    const strangers: Record<string, string>[] = [
      {},
      { authorization: "Bearer wrong" },
      { authorization: "Basic YTpi" },
      { "x-robot-key": "key-2" },
      { "x-api-key": "key-1" },
    ];
    for (const headers of strangers) {
      const response = await ask(headers);
      assert.ok(response.headers.has("www-authenticate"));
      // A stranger keeps no connection.
      assert.equal(response.headers.get("connection"), "close");
      await problem(response, 401, "unauthenticated");
    }
    assert.equal(counted(bay).errors.unauthenticated, strangers.length);
    // No credential reaches a handler as a header.
    assert.deepEqual(seen.at(-2), { mine: "1" });
  });

  Deno.test(`rest (${listener}): a hook that throws, or names nobody, lets in nobody and says nothing`, async () => {
    const reports: PatchbayError[] = [];
    await using bay = await bayWith({
      listener,
      auth: {
        authenticate({ headers }) {
          const badge = headers.get("x-badge") ?? "";
          if (badge === "broken") throw new Error("no such table: /var/lib/people.db");
          if (badge === "odd") return true as never;
          return badge;
        },
      },
    }, reports);
    await bay.serve("arm/who", (_value, { peer }) => peer.identity);
    const ask = (badge: string) =>
      fetch(`${bay.url}/arm/who`, { method: "POST", headers: { "x-badge": badge } });
    assert.equal(await (await ask("ada")).json(), "ada");
    const told = await problem(await ask("broken"), 401, "unauthenticated");
    assert.deepEqual(told, await problem(await ask(""), 401, "unauthenticated"));
    assert.deepEqual(told, await problem(await ask("odd"), 401, "unauthenticated"));
    await problem(await ask("broken"), 401, "unauthenticated");
    assert.equal(counted(bay).errors.unauthenticated, 4);
    // The owner hears of it, and not once for each request.
    assert.equal(reports.length, 1);
    assert.equal(reports[0].code, "internal");
    assert.match(reports[0].message, /authenticate threw: no such table/);
    assert.equal(await (await ask("ada")).json(), "ada");
  });

  Deno.test(`rest (${listener}): pages of other origins are refused, and let in by cors alone`, async () => {
    await using bay = await bayWith({
      listener,
      cors: { origins: ["https://good.example"], credentials: true },
      auth: { tokens: { ada: "secret" } },
    });
    await bay.serve("arm/move", (value) => value);
    const url = `${bay.url}/arm/move`;
    const from = (origin: string, more: Record<string, string> = {}) => ({
      ...post(1),
      headers: {
        "content-type": "application/json",
        authorization: "Bearer secret",
        origin,
        ...more,
      },
    });
    const bad = await fetch(url, from("https://evil.example"));
    assert.equal(bad.headers.get("access-control-allow-origin"), null);
    await problem(bad, 403, "forbidden");
    const good = await fetch(url, from("https://good.example"));
    assert.equal(good.headers.get("access-control-allow-origin"), "https://good.example");
    assert.equal(good.headers.get("access-control-allow-credentials"), "true");
    assert.equal(await good.json(), 1);
    // A page asks first, and without credentials.
    const first = await fetch(url, {
      method: "OPTIONS",
      headers: {
        origin: "https://good.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
      },
    });
    assert.equal(first.status, 204);
    assert.match(first.headers.get("access-control-allow-methods") ?? "", /POST/);
    assert.equal(await (await fetch(url, from(new URL(bay.url).origin))).json(), 1);
    assert.equal(counted(bay).errors.forbidden, 1);
  });

  Deno.test(`rest (${listener}): without cors no page of another origin comes in, nor by another name`, async () => {
    await using bay = await bayWith({ listener, allowedHosts: ["robot.local"] });
    await bay.serve("arm/stop", () => "stopped");
    // What a page may send without asking: no content-type, no header of its own.
    const simple = { method: "POST", headers: { origin: "https://evil.example" } };
    await problem(await fetch(`${bay.url}/arm/stop`, simple), 403, "forbidden");
    const head = (host: string) =>
      `POST /arm/stop HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    assert.match(await talk(bay.url, head("rebound.example")), /^HTTP\/1\.1 421 /);
    for (const host of ["localhost:1", "127.0.0.1", "[::1]:80", "robot.local"]) {
      assert.match(await talk(bay.url, head(host)), /^HTTP\/1\.1 200 /);
    }
    // A request line with a whole URL names another host than `Host` does.
    const whole = head("localhost").replace("/arm", "http://rebound.example/arm");
    assert.match(await talk(bay.url, whole), /^HTTP\/1\.1 421 /);
  });

  Deno.test(`rest (${listener}): what a page of another site asks for without saying so is refused`, async () => {
    await using bay = await bayWith({ listener, cors: { origins: ["https://good.example"] } });
    let asked = 0;
    const Reset = defineCallable<unknown, number>({
      address: "arm/reset",
      native: { rest: { method: "GET", path: "/reset" } },
    });
    await bay.serve(Reset, () => ++asked);
    // As <img>, <script> and links do it: no Origin.
    const get = (headers: Record<string, string>) => fetch(`${bay.url}/reset`, { headers });
    const evil = "https://evil.example/page";
    const refused: Record<string, string>[] = [
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { "sec-fetch-site": "cross-site", referer: evil },
      { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", referer: "no URL" },
    ];
    for (const headers of refused) await problem(await get(headers), 403, "forbidden");
    assert.equal(asked, 0);
    const fine: Record<string, string>[] = [
      {},
      { referer: evil },
      { "sec-fetch-site": "none" },
      { "sec-fetch-site": "same-origin" },
      { "sec-fetch-site": "cross-site", referer: "https://good.example/page" },
      { "sec-fetch-site": "cross-site", origin: "https://good.example" },
    ];
    for (const headers of fine) assert.equal((await get(headers)).status, 200);
    assert.equal(asked, fine.length);
    assert.equal(counted(bay).errors.forbidden, refused.length);
  });

  Deno.test(`rest (${listener}): authorize decides on each verb, middleware before it`, async () => {
    const asked: string[] = [];
    const stamp: MiddlewareHandler = async (context, next) => {
      if (context.req.header("x-blocked") !== undefined) return context.text("not today", 418);
      await next();
      context.header("x-seen", "yes");
    };
    const bay = await open({
      module: "server",
      plugins: [rest],
      config: {
        rest: {
          listen: { port: 0 },
          listener,
          middleware: [stamp],
        },
      },
      authorize: (peer, verb, address) => {
        asked.push(`${peer.transport} ${verb} ${address}`);
        return address === "arm/free";
      },
    });
    await using _ = bay;
    const { url } = bay.transport(rest);
    for (const address of ["arm/free", "arm/locked"]) await bay.serve(address, () => "in");
    await bay.speaker("arm/pose");
    await bay.perform("arm/pick", () => "picked");
    const free = await fetch(`${url}/arm/free`, { method: "POST" });
    assert.deepEqual([await free.json(), free.headers.get("x-seen")], ["in", "yes"]);
    await problem(await fetch(`${url}/arm/locked`, { method: "POST" }), 403, "forbidden");
    await problem(await fetch(`${url}/arm/pose`), 403, "forbidden");
    await problem(await fetch(`${url}/arm/pick`, { method: "POST" }), 403, "forbidden");
    const blocked = await fetch(`${url}/arm/free`, {
      method: "POST",
      headers: { "x-blocked": "1" },
    });
    assert.deepEqual([blocked.status, await blocked.text()], [418, "not today"]);
    assert.deepEqual(asked, [
      "rest call arm/free",
      "rest call arm/locked",
      "rest listen arm/pose",
      "rest execute arm/pick",
    ]);
  });
}

const curl = await requireOrIgnore("curl", async () => {
  const command = new Deno.Command("curl", { args: ["--version"], stdout: "piped" });
  const { success, stdout } = await command.output();
  return success && / HTTP2\b/.test(new TextDecoder().decode(stdout));
}, "apt-get install curl");

Deno.test({
  name: curl.name(
    "rest (quick): over HTTP/2 too it answers to its names, and its own pages come in",
  ),
  ignore: curl.ignore,
  fn: async () => {
    const [cert, key] = await Promise.all(["server.pem", "server.key"].map(pem));
    await using bay = await bayWith({ listener: "quick", tls: { cert, key } });
    await bay.serve("arm/stop", () => "stopped");
    const { origin, port } = new URL(bay.url);
    const status = async (version: string, ...headers: string[]) => {
      const args = ["-sk", "-m", "20", `--${version}`, "-o", "/dev/null", "-X", "POST"];
      const { stdout } = await new Deno.Command("curl", {
        args: [
          ...args,
          ...["-w", "%{http_version} %{http_code}"],
          ...headers.flatMap((header) => ["-H", header]),
          `${bay.url}/arm/stop`,
        ],
      }).output();
      return new TextDecoder().decode(stdout);
    };
    for (const [version, told] of [["http2", "2"], ["http1.1", "1.1"]]) {
      assert.equal(await status(version), `${told} 200`);
      assert.equal(await status(version, `Origin: ${origin}`), `${told} 200`);
      assert.equal(await status(version, `Host: localhost:${port}`), `${told} 200`);
      assert.equal(await status(version, "Origin: https://evil.example"), `${told} 403`);
      assert.equal(await status(version, "Host: evil.example"), `${told} 421`);
      const both = ["Host: evil.example", "Origin: https://evil.example"];
      assert.equal(await status(version, ...both), `${told} 421`);
    }
  },
});

Deno.test("rest: an authorization server is asked about tokens, once each for a while", async () => {
  const asked: string[] = [];
  const reports: PatchbayError[] = [];
  const answers: Record<string, unknown> = {
    good: { active: true, sub: "ada", scope: "read arm" },
    narrow: { active: true, sub: "bob", scope: "read" },
    old: { active: true, sub: "eve", scope: "arm", exp: 1 },
    bad: { active: false },
  };
  const issuer = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const form = await request.formData();
    const token = String(form.get("token"));
    asked.push(`${request.headers.get("authorization")} ${token}`);
    if (token === "broken") return new Response("no", { status: 500 });
    return Response.json(answers[token] ?? { active: false });
  });
  {
    await using bay = await bayWith({
      auth: {
        introspection: {
          url: `http://127.0.0.1:${issuer.addr.port}/introspect`,
          clientId: "patchbay",
          clientSecret: "s3cret",
          scopes: ["arm"],
        },
      },
    }, reports);
    await bay.serve("arm/who", (_value, { peer }) => peer.identity);
    const ask = (token: string) =>
      fetch(`${bay.url}/arm/who`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
      });
    for (let i = 0; i < 3; i++) assert.equal(await (await ask("good")).json(), "ada");
    for (const token of ["narrow", "old", "bad"]) {
      await problem(await ask(token), 401, "unauthenticated");
    }
    const told = await problem(await ask("broken"), 503, "unavailable");
    // A stranger is not told why, the owner is.
    assert.equal(told.detail, "the authorization server cannot be asked");
    assert.deepEqual(reports.map(({ code }) => code), ["unavailable"]);
    assert.match(reports[0].message, /it answered with 500/);
    assert.equal(asked.filter((line) => line.endsWith(" good")).length, 1);
    assert.equal(asked[0], `Basic ${btoa("patchbay:s3cret")} good`);
  }
  await issuer.shutdown();
});

Deno.test("rest: what is configured wrongly says what to do", async () => {
  const cases: [Partial<RestConfig>, RegExp, RegExp][] = [
    [{ listen: { hostname: "0.0.0.0", port: 0 } }, /lets the network in/, /config\.rest\.auth/],
    [{ listen: { port: 70_000 } }, /no port/, /port: 4000/],
    [{ listen: { path: "/x", port: 1 } }, /both/, /give one/],
    [{ baseUrl: "ftp://x" }, /is no URL/, /http:/],
    [{ peers: ["robot"] }, /`peers`/, /http:/],
    [{ cors: { origins: ["*"], credentials: true } }, /credentials to every/, /name the origins/],
    [{ tls: { cert: "x" } }, /not both/, /`cert` and `key`/],
    [{ middleware: [1] as never }, /middleware/, /app\.use/],
    [{ token: "" }, /`token` is empty/, /leave it out/],
    [{ auth: { tokens: { ada: "" } } }, /`auth.tokens` has an empty .* for ada/, /a secret/],
    [{ auth: { apiKeys: { bob: "" } } }, /`auth.apiKeys` has an empty .* for bob/, /a secret/],
    [{ auth: { apiKeys: { "": "key" } } }, /`auth.apiKeys` has an empty/, /a secret/],
    [{ auth: { tokens: { ada: 1 as never } } }, /`auth.tokens`/, /a secret/],
    [{ auth: { apiKeyHeader: "" } }, /apiKeyHeader/, /x-api-key/],
    [{ auth: { authenticate: "me" as never } }, /authenticate/, /open\(\)/],
    [{ auth: { introspection: {} as never } }, /introspection/, /url/],
    [{ names: { "a/b": { method: "BREW" as never } } }, /BREW/, /GET, POST/],
  ];
  for (const [config, reason, remedy] of cases) {
    await using bay = await open({ module: "lonely", plugins: [rest], config: { rest: config } });
    const [wire] = bay.wires();
    assert.equal(wire.open, false, String(reason));
    assert.match(wire.reason ?? "", reason);
    assert.match(wire.remedy ?? "", remedy);
  }
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const listener of LISTENERS) {
    const config = { rest: { listener, listen: { port: taken.addr.port } } };
    await using bay = await open({ module: "lonely", plugins: [rest], config });
    assert.match(bay.wires()[0].remedy ?? "", /another place/);
  }
  taken.close();
  await using nowhere = await open({ module: "lonely", plugins: [rest] });
  const error = await nowhere.serve("a/b", () => 1).then(() => undefined, (reason) => reason);
  assert.ok(error instanceof PatchbayError);
  assert.deepEqual([error.code, error.message], ["unavailable", "rest has nowhere to listen"]);
});
