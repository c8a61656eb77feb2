/**
 * What an authorization server is asked, however many strangers send however many tokens.
 *
 * @module
 */
import assert from "node:assert/strict";
import { PatchbayError } from "@patchbay/core";
import { Introspector, MAX_ASKED, MAX_REMEMBERED, MAX_WAITING } from "./introspection.ts";

/** An authorization server that knows tokens by how they begin, and holds each for a while. */
function authority(hold: () => Promise<unknown> = () => Promise.resolve()) {
  const asked: string[] = [];
  const now = { open: 0, most: 0 };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const token = String((await request.formData()).get("token"));
    asked.push(token);
    now.most = Math.max(now.most, ++now.open);
    await hold();
    now.open--;
    return Response.json({ active: token.startsWith("good"), sub: token });
  });
  const introspector = new Introspector({
    url: `http://127.0.0.1:${server.addr.port}/introspect`,
    clientId: "patchbay",
    clientSecret: "s3cret",
    cacheMs: 600_000,
  }, (_kind, what) => assert.fail(what(0)));
  return { asked, now, introspector, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("rest: refused tokens push out no good one, and are themselves asked about once", async () => {
  await using here = authority();
  const { introspector, asked } = here;
  assert.equal(await introspector.identify("good"), "good");
  for (let from = 0; from <= MAX_REMEMBERED; from += MAX_ASKED) {
    await Promise.all(
      Array.from({ length: MAX_ASKED }, (_, n) => introspector.identify(`bad ${from + n}`)),
    );
  }
  const before = asked.length;
  assert.equal(await introspector.identify("good"), "good");
  assert.equal(await introspector.identify(`bad ${MAX_REMEMBERED - 1}`), undefined);
  assert.equal(asked.length, before);
  // The oldest of them has gone: what strangers send has a bound.
  assert.equal(await introspector.identify("bad 0"), undefined);
  assert.equal(asked.length, before + 1);
});

Deno.test("rest: only some tokens are asked about at once, some more wait, and one token asks once", async () => {
  const gate = Promise.withResolvers<void>();
  const full = Promise.withResolvers<void>();
  let entered = 0;
  await using here = authority(() => {
    if (++entered === MAX_ASKED) full.resolve();
    return gate.promise;
  });
  const { introspector, asked, now } = here;
  const twice = [introspector.identify("good 0"), introspector.identify("good 0")];
  const all = Array.from(
    { length: MAX_ASKED + MAX_WAITING - 1 },
    (_, n) => introspector.identify(`good ${n + 1}`),
  );
  await full.promise;
  const error = await introspector.identify("good too many").then(() => undefined, (e) => e);
  assert.ok(error instanceof PatchbayError);
  assert.deepEqual([error.code, error.remedy], ["overloaded", "try again later"]);
  gate.resolve();
  assert.deepEqual(await Promise.all(twice), ["good 0", "good 0"]);
  assert.deepEqual(await Promise.all(all), all.map((_, n) => `good ${n + 1}`));
  assert.equal(now.most, MAX_ASKED);
  assert.equal(asked.length, MAX_ASKED + MAX_WAITING);
  assert.equal(await introspector.identify("good after all"), "good after all");
});
