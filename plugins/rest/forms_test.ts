/**
 * Properties of what stands in URLs, headers, events and problems: what goes in comes out, and
 * nonsense throws nothing else than it may.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createParser } from "npm:eventsource-parser@4.1.3";
import {
  CodecTable,
  ERROR_CODES,
  type ErrorCode,
  loadMsgpack,
  PatchbayError,
} from "@patchbay/core";
import fc from "fast-check";
import { Bodies } from "./bodies.ts";
import { decodeEvent, encodeEvent, type EventFacts, readFacts } from "./events.ts";
import {
  addUserHeaders,
  FROM,
  readPriority,
  readSender,
  readTimeout,
  userHeaders,
} from "./headers.ts";
import { gather, nameOf, spread } from "./names.ts";
import { readPresent } from "./presence.ts";
import { errorOf, problemResponse, STATUS_OF, statusOf } from "./statuses.ts";

const codecs = new CodecTable();
await codecs.load("msgpack");
const bodies = new Bodies(codecs, await loadMsgpack(), 1 << 20);
const well = fc.string({ unit: "grapheme", maxLength: 40 }).map((text) => text.toWellFormed());

Deno.test("rest: fields spread over path and query are gathered again", () => {
  const name = nameOf("a/b", { method: "GET", path: "/x/:one/y/:two" }, {});
  const parameter = well.filter((text) => text !== "" && text !== "." && text !== "..");
  fc.assert(
    fc.property(parameter, parameter, fc.array(well, { minLength: 2 }), (one, two, list) => {
      const { path } = spread(name, { one, two, list, alone: "1" });
      const url = new URL(path, "http://localhost");
      const [, , first, , second] = url.pathname.split("/").map(decodeURIComponent);
      const value = gather(name, { one: first, two: second }, url.searchParams, undefined, {});
      assert.deepEqual(value, { list, alone: "1", one, two });
    }),
  );
});

Deno.test("rest: names that cannot be used are invalid, whatever they are", () => {
  fc.assert(fc.property(fc.anything(), fc.string(), (given, path) => {
    for (const one of [given, { path }]) {
      try {
        const name = nameOf("a/b", one, {});
        assert.ok(name.path.startsWith("/"));
      } catch (error) {
        assert.ok(error instanceof PatchbayError && error.code === "invalid", String(error));
      }
    }
  }));
});

Deno.test("rest: the user's headers come out as they went in, HTTP's own do not", () => {
  const key = fc.stringMatching(/^x-[a-z0-9]{1,10}$/);
  fc.assert(fc.property(fc.dictionary(key, well), (headers) => {
    const sent: Record<string, string> = {
      [FROM]: `near ${"0".repeat(16)}`,
      host: "x",
      accept: "y",
    };
    addUserHeaders(headers, sent);
    for (const value of Object.values(sent)) assert.match(value, /^[\x20-\x7e]*$/);
    assert.deepEqual({ ...userHeaders(new Headers(sent), "x-api-key") }, { ...headers });
  }));
});

Deno.test("rest: values come out of events as they went in", () => {
  const portable = fc.oneof(
    fc.jsonValue().map((value) => JSON.stringify(value)).filter((text) =>
      !text.includes("__proto__")
    ).map((text) => JSON.parse(text)),
    fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
    fc.record({
      bytes: fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
      big: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    }).map((value) => ({ ...value })),
    fc.constant(undefined),
  );
  fc.assert(fc.property(portable, fc.nat(), (value, sequence) => {
    let facts: EventFacts | undefined;
    const seen: unknown[] = [];
    const parser = createParser({
      onComment: (comment) => void (facts = readFacts(comment)),
      onEvent: ({ data, id, event }) => seen.push(decodeEvent(data, facts, bodies), id, event),
    });
    const text = new TextDecoder().decode(
      encodeEvent("a/b", "x.1", bodies.encode(value, undefined), { sequence }),
    );
    for (let at = 0; at < text.length; at += 7) parser.feed(text.slice(at, at + 7));
    assert.deepEqual(seen, [value, "x.1", "a/b"]);
    assert.equal(facts?.sequence, sequence);
  }));
});

Deno.test("rest: a problem is read as the error that was told", async () => {
  const details = fc.dictionary(fc.string(), fc.integer()).map((given) => ({ ...given }));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<ErrorCode>(...ERROR_CODES),
      well,
      details,
      async (code, message, details) => {
        const error = new PatchbayError(code, message, {
          details: JSON.parse(JSON.stringify(details)),
        });
        const response = problemResponse(error);
        assert.ok([STATUS_OF[code], 500].includes(response.status));
        assert.equal(response.status, statusOf(error));
        const type = response.headers.get("content-type") ?? "";
        const read = errorOf(response.status, type, await response.text(), "x");
        assert.deepEqual(read.toWire(), error.toWire());
      },
    ),
  );
});

Deno.test("rest: nonsense from a peer is read as something, or refused", () => {
  fc.assert(fc.property(fc.nat({ max: 999 }), fc.string(), fc.string(), (status, type, text) => {
    assert.ok(errorOf(status, type, text, "x") instanceof PatchbayError);
    assert.ok(errorOf(status, "application/problem+json", text, "x") instanceof PatchbayError);
    assert.equal(typeof readSender(text).module, "string");
    assert.ok(readPriority(text) >= 0 && readPriority(text) <= 255);
    assert.ok((readTimeout(text) ?? 0) >= 0);
    readFacts(`patchbay ${text}`);
  }));
  fc.assert(fc.property(fc.anything(), (value) => {
    try {
      assert.ok(Array.isArray(readPresent(value).endpoints));
    } catch (error) {
      assert.ok(error instanceof PatchbayError && error.code === "protocol", String(error));
    }
  }));
});
