/**
 * rest as a program without Patchbay sees it: `fetch`, methods, paths, queries, bodies, problems.
 *
 * @module
 */
import assert from "node:assert/strict";
import { defineCallable, defineJob, defineSpeaker, PatchbayError } from "@patchbay/core";
import { Validator } from "npm:@seriousme/openapi-schema-validator@2.11.0";
import { z } from "zod";
import { httpRequest } from "./mod.ts";
import { bayWith, counted, LISTENERS, post, problem } from "./testdata/bay.ts";

for (const listener of LISTENERS) {
  Deno.test(`rest (${listener}): values go in and out as they are, without a wrapper`, async () => {
    await using bay = await bayWith({ listener });
    await bay.serve("arm/echo", (value) => value);
    const url = `${bay.url}/arm/echo`;
    for (const value of [null, 0, "text", [1, 2], { a: { b: true } }]) {
      const response = await fetch(url, post(value));
      assert.equal(response.headers.get("content-type"), "application/json");
      assert.equal(await response.text(), JSON.stringify(value));
    }
    const bytes = Uint8Array.of(0, 255, 128);
    const binary = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: bytes,
    });
    assert.equal(binary.headers.get("content-type"), "application/octet-stream");
    assert.deepEqual(new Uint8Array(await binary.arrayBuffer()), bytes);
    const nothing = await fetch(url, { method: "POST" });
    assert.deepEqual([nothing.status, await nothing.text()], [204, ""]);
    const odd = await fetch(url, { ...post(1), headers: { "content-type": "image/png" } });
    assert.equal(odd.headers.get("content-type"), "application/octet-stream");
    await odd.body?.cancel();
  });

  Deno.test(`rest (${listener}): methods, path parameters and queries as the contract names them`, async () => {
    await using bay = await bayWith({ listener });
    const users = new Map([[7, { id: 7, name: "Ada" }]]);
    const id = z.object({ id: z.number() });
    const Get = defineCallable({
      address: "users/get",
      request: id.extend({ fields: z.array(z.string()).optional(), loud: z.boolean().optional() }),
      native: { rest: { method: "GET", path: "/users/:id" } },
    });
    const Put = defineCallable({
      address: "users/put",
      request: id.extend({ name: z.string() }),
      native: { rest: { method: "PUT", path: "/users/:id", status: 201 } },
    });
    const Patch = defineCallable({
      address: "users/patch",
      request: id.extend({ name: z.string().optional() }),
      native: { rest: { method: "PATCH", path: "/users/:id" } },
    });
    const Delete = defineCallable({
      address: "users/delete",
      request: id,
      native: { rest: { method: "DELETE", path: "/users/:id" } },
    });
    await bay.serve(Get, ({ id, fields, loud }, context) => {
      const http = httpRequest(context);
      const native = http?.request.method !== "POST";
      assert.deepEqual(http?.parameters, native ? { id: String(id) } : {});
      const user = users.get(id);
      if (user === undefined) throw new PatchbayError("not_found", `there is no user ${id}`);
      return { ...user, ...(fields === undefined ? {} : { fields }), ...(loud ? { loud } : {}) };
    });
    await bay.serve(Put, (user) => void users.set(user.id, user));
    await bay.serve(Patch, ({ id, name }) => {
      users.set(id, { id, name: name ?? "nobody" });
      return users.get(id);
    });
    await bay.serve(Delete, ({ id }) => void users.delete(id));

    const at = (path: string) => `${bay.url}/users/${path}`;
    const get = async (path: string) => await (await fetch(at(path))).json();
    assert.deepEqual(await get("7"), { id: 7, name: "Ada" });
    assert.deepEqual(await get("7?fields=a&fields=b&loud=true"), {
      id: 7,
      name: "Ada",
      fields: ["a", "b"],
      loud: true,
    });
    const created = await fetch(at("8"), { ...post({ name: "Bob" }), method: "PUT" });
    assert.deepEqual([created.status, await created.text()], [201, ""]);
    const patched = await fetch(at("8"), { ...post({ name: "Bert" }), method: "PATCH" });
    assert.deepEqual(await patched.json(), { id: 8, name: "Bert" });
    const removed = await fetch(at("8"), { method: "DELETE" });
    assert.equal(removed.status, 204);
    await problem(await fetch(at("8")), 404, "not_found");
    const bad = await problem(await fetch(at("eight")), 400, "invalid");
    assert.match(String(bad.detail), /request\.id/);
    // Who knows the address alone finds it there.
    assert.deepEqual(await (await fetch(`${bay.url}/users/get`, post({ id: 7 }))).json(), {
      id: 7,
      name: "Ada",
    });
    const head = await fetch(at("7"), { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
  });

  Deno.test(`rest (${listener}): what is not there is 404, what is done wrongly 405 with Allow`, async () => {
    await using bay = await bayWith({ listener });
    await bay.serve("arm/move", (value) => value);
    await problem(await fetch(`${bay.url}/arm/fly`, post(1)), 404, "not_found");
    await problem(await fetch(`${bay.url}/`), 404, "not_found");
    for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
      const response = await fetch(`${bay.url}/arm/move`, { method });
      assert.equal(response.headers.get("allow"), "POST, OPTIONS");
      await problem(response, 405, "invalid");
    }
    const options = await fetch(`${bay.url}/arm/move`, { method: "OPTIONS" });
    assert.deepEqual([options.status, options.headers.get("allow")], [204, "POST, OPTIONS"]);
    assert.equal(counted(bay).errors.not_found, 2);
    assert.equal(await (await fetch(`${bay.url}/arm/move`, post(1))).json(), 1);
  });

  Deno.test(`rest (${listener}): bad bodies are refused with the right status, and counted`, async () => {
    await using bay = await bayWith({ listener, maxMessageBytes: 1000 });
    await bay.serve("arm/move", (value) => value);
    const url = `${bay.url}/arm/move`;
    const send = (body: BodyInit, type: string | undefined) =>
      fetch(url, {
        method: "POST",
        body,
        headers: type === undefined ? {} : { "content-type": type },
      });
    await problem(await send("{", "application/json"), 400, "protocol");
    await problem(await send('{"__proto__": 1}', "application/json"), 400, "protocol");
    await problem(await send(Uint8Array.of(0xff, 0xfe), "application/json"), 400, "protocol");
    await problem(await send("x", "application/vnd.msgpack; a=b"), 400, "protocol").catch(() => {});
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      await problem(await send("1", type), 415, "invalid");
    }
    await problem(await send("x".repeat(1001), "application/json"), 413, "too_large");
    const chunks = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 11; i++) controller.enqueue(new TextEncoder().encode("1".repeat(100)));
        controller.close();
      },
    });
    const told = await problem(await send(chunks, "application/json"), 413, "too_large");
    assert.equal((told.details as { max: number }).max, 1000);
    const { errors } = counted(bay);
    assert.ok(errors.protocol >= 3 && errors.too_large === 2 && errors.invalid === 3);
    assert.equal(await (await send("7", "application/json")).json(), 7);
  });

  Deno.test(`rest (${listener}): a handler's error is a problem, with its code and without a stack`, async () => {
    await using bay = await bayWith({ listener });
    await bay.serve("arm/throw", (code) => {
      if (code === "remote") throw new RangeError("the handler's own words");
      throw new PatchbayError(code as "closed", "refused", { details: { a: 1 }, remedy: "do" });
    });
    const statuses: Record<string, number> = {
      unavailable: 503,
      not_found: 404,
      closed: 503,
      deadline_exceeded: 504,
      too_large: 413,
      invalid: 400,
      protocol: 400,
      overloaded: 429,
      unauthenticated: 401,
      forbidden: 403,
      remote: 500,
      internal: 500,
    };
    for (const [code, status] of Object.entries(statuses)) {
      const response = await fetch(`${bay.url}/arm/throw`, post(code));
      const { headers } = response;
      assert.equal(headers.has("retry-after"), status === 503 || status === 429, code);
      assert.equal(headers.has("www-authenticate"), status === 401, code);
      const told = await problem(response, status, code);
      assert.ok(!JSON.stringify(told).includes(".ts:"), "the stack crossed the wire");
      if (code !== "remote") assert.deepEqual([told.details, told.remedy], [{ a: 1 }, "do"]);
    }
  });

  Deno.test(`rest (${listener}): a handler that takes too long is 504, and its place is free`, async () => {
    await using bay = await bayWith({ listener, timeoutMs: 300 });
    const aborted = Promise.withResolvers<string>();
    await bay.serve("arm/hang", (_value, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          aborted.resolve(signal.reason.name);
          reject(signal.reason);
        });
      }), { maxConcurrent: 1 });
    for (let round = 0; round < 2; round++) {
      await problem(await fetch(`${bay.url}/arm/hang`, post(1)), 504, "deadline_exceeded");
    }
    assert.equal(await aborted.promise, "AbortError");
    const quick = await fetch(`${bay.url}/arm/hang`, {
      ...post(1),
      headers: { "content-type": "application/json", "patchbay-timeout-ms": "1" },
    });
    await problem(quick, 504, "deadline_exceeded");
  });

  Deno.test(`rest (${listener}): a client that goes away aborts its handler's signal`, async () => {
    await using bay = await bayWith({ listener });
    const entered = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    await bay.serve("arm/hang", (_value, { signal }) => {
      signal.addEventListener("abort", () => aborted.resolve());
      entered.resolve();
      return aborted.promise;
    });
    const control = new AbortController();
    const call = fetch(`${bay.url}/arm/hang`, { ...post(1), signal: control.signal });
    await entered.promise;
    control.abort();
    await assert.rejects(call);
    await aborted.promise;
  });

  Deno.test(`rest (${listener}): the OpenAPI document is valid, and says what is served`, async () => {
    await using bay = await bayWith({ listener, auth: { tokens: { ada: "secret" } } });
    interface Tree {
      value: number;
      below: Tree[];
    }
    const Node: z.ZodType<Tree> = z.lazy(() =>
      z.object({ value: z.number(), below: z.array(Node) })
    );
    await bay.serve(
      defineCallable({
        address: "users/get",
        description: "One user",
        request: z.object({ id: z.number(), verbose: z.boolean().optional() }),
        response: z.object({ name: z.string() }),
        native: { rest: { method: "GET", path: "/users/:id" } },
      }),
      () => ({ name: "Ada" }),
    );
    await bay.serve(
      defineCallable({ address: "tree/grow", request: Node, response: Node }),
      (v) => v,
    );
    await bay.serve("bare/words", (v) => v);
    await bay.serve(
      defineCallable<number, number>({
        address: "told/words",
        jsonSchema: { request: { type: "integer" }, response: { type: "number" } },
      }),
      (v) => v,
    );
    await bay.speaker(defineSpeaker({ address: "arm/pose", value: z.object({ x: z.number() }) }));
    await bay.perform(
      defineJob({ address: "arm/pick", goal: z.string(), feedback: z.number(), result: z.null() }),
      () => null,
    );
    const headers = { authorization: "Bearer secret" };
    await problem(await fetch(`${bay.url}/openapi.json`), 401, "unauthenticated");
    const document = await (await fetch(`${bay.url}/openapi.json`, { headers })).json();
    const verdict = await new Validator().validate(structuredClone(document));
    assert.deepEqual([verdict.valid, verdict.errors], [true, undefined]);
    assert.equal(document.openapi, "3.1.0");
    assert.deepEqual(Object.keys(document.paths).sort(), [
      "/arm/pick",
      "/arm/pick/{id}",
      "/arm/pick/{id}/result",
      "/arm/pose",
      "/bare/words",
      "/told/words",
      "/tree/grow",
      "/users/{id}",
    ]);
    const { get } = document.paths["/users/{id}"];
    assert.deepEqual(
      get.parameters.map((one: { in: string; name: string }) => [one.in, one.name]),
      [
        ["path", "id"],
        ["query", "verbose"],
      ],
    );
    assert.equal(get.summary, "One user");
    const words = document.paths["/bare/words"].post.requestBody.content["application/json"];
    assert.equal(words["x-patchbay-untyped"], true);
    const told = document.paths["/told/words"].post.requestBody.content["application/json"];
    assert.deepEqual(told, { schema: { type: "integer" } });
    assert.deepEqual(document.security, [{ bearer: [] }]);
    const html = await (await fetch(`${bay.url}/docs`, { headers })).text();
    assert.ok(html.includes("/users/{id}") && html.includes("no schema is known"));
    // It works without internet: nothing in it is loaded from anywhere.
    assert.doesNotMatch(html, /<script|<link|<img|@import|src=/i);
  });
}

Deno.test("rest: an operation's answer is what its document promises", async () => {
  await using bay = await bayWith();
  const Sum = defineCallable({
    address: "math/sum",
    request: z.object({ a: z.number(), b: z.number() }),
    response: z.object({ sum: z.number() }),
  });
  await bay.serve(Sum, ({ a, b }) => ({ sum: a + b }));
  const document = await (await fetch(`${bay.url}/openapi.json`)).json();
  const { requestBody, responses } = document.paths["/math/sum"].post;
  assert.deepEqual(requestBody.content["application/json"].schema.required, ["a", "b"]);
  assert.deepEqual(responses["200"].content["application/json"].schema.properties, {
    sum: { type: "number" },
  });
  const answer = await fetch(`${document.servers[0].url}/math/sum`, post({ a: 1, b: 2 }));
  assert.deepEqual(await answer.json(), { sum: 3 });
});

Deno.test("rest: two endpoints of one path are refused, and the first goes on", async () => {
  await using bay = await bayWith();
  await bay.serve("arm/pick", () => "called");
  await assert.rejects(bay.perform("arm/pick", () => 1), { code: "unavailable" });
  const Native = defineCallable({ address: "leg/pick", native: { rest: { path: "/arm/pick" } } });
  await assert.rejects(bay.serve(Native, () => 1), { code: "unavailable" });
  await assert.rejects(
    bay.serve(defineCallable({ address: "a/b", native: { rest: { path: "no slash" } } }), () => 1),
    { code: "invalid" },
  );
  assert.equal(await (await fetch(`${bay.url}/arm/pick`, post(1))).json(), "called");
});
