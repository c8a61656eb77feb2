import assert from "node:assert/strict";
import type { PatchbayError } from "@patchbay/core";
import { bay, counted, hubAt, refused, settled, until } from "./testdata/places.ts";
import { JsonClient, type Message } from "./testdata/json_client.ts";

const code = (message: Message) => (message.error as { code: string }).code;

Deno.test("json: a call is answered: values, bytes, nothing, headers, time, errors", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using far = await bay("far", { url });
  const { promise: entered, resolve: enter } = Promise.withResolvers<AbortSignal>();
  for (const [name, server] of [["hub", hub], ["far", far]] as const) {
    await server.serve(`${name}/echo`, (v) => v);
    await server.serve(`${name}/throws`, () => {
      throw new Error("as planned");
    });
    await server.serve(`${name}/who`, (_v, { peer, headers, remainingMs }) => ({
      peer: peer.module,
      headers,
      inTime: remainingMs > 0 && remainingMs <= 900,
    }));
    await server.serve(`${name}/mixed`, () => ({ bytes: new Uint8Array(3) }));
  }
  await far.serve("far/hang", (_v, { signal }) => {
    enter(signal);
    return new Promise(() => {});
  });
  await using client = await JsonClient.open(url, { module: "foreign" });
  let id = 0;
  const ask = (address: string, rest: Record<string, unknown> = {}, answer = "response") =>
    client.ask({ type: "request", id: ++id, address, ...rest }, answer);
  for (const name of ["hub", "far"]) {
    for (const value of [1, "täxt", null, { a: [true, { b: -1.5 }] }, "x".repeat(200_000)]) {
      const answer = await ask(`${name}/echo`, { value });
      assert.deepEqual(answer, { type: "response", id, value });
    }
    const bytes = btoa(String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i)));
    assert.deepEqual(await ask(`${name}/echo`, { bytes }), { type: "response", id, bytes });
    assert.deepEqual(await ask(`${name}/echo`), { type: "response", id });
    const who = await ask(`${name}/who`, { headers: { a: "b" }, timeoutMs: 900 });
    const seen = { peer: "foreign", headers: { a: "b" }, inTime: true };
    assert.deepEqual(who.value, seen);
    const thrown = await ask(`${name}/throws`, {}, "error");
    const details = { name: "Error" };
    assert.deepEqual(thrown.error, { code: "remote", message: "as planned", details });
    assert.equal(code(await ask(`${name}/mixed`, {}, "error")), "invalid");
    assert.equal(code(await ask(`${name}/nobody`, {}, "error")), "not_found");
  }
  assert.equal(code(await ask("Not An Address", {}, "error")), "invalid");
  assert.equal(code(await ask("hub/echo", { timeoutMs: "soon" }, "error")), "invalid");
  assert.equal(code(await ask("hub/echo", { bytes: "?" }, "error")), "invalid");
  client.say({ type: "request", id: ++id, address: "far/hang" });
  const signal = await settled("the call to arrive", entered);
  client.say({ type: "cancel", id });
  await until("the handler to be told", () => signal.aborted);
  assert.deepEqual(client.unread, []);
});

Deno.test("json: a client serves, and is called by the hub and through it", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using near = await bay("near", { url });
  await using client = await JsonClient.open(url, { module: "foreign" });
  const offer = { type: "register", id: 1, pattern: "callable", address: "foreign/add" };
  assert.equal((await client.ask(offer, "register-ack")).error, undefined);
  const other = await JsonClient.open(url);
  assert.equal(code(await other.ask(offer, "register-ack")), "unavailable");
  await other.close();
  for (const [name, caller] of [["hub", hub], ["near", near]] as const) {
    const sum = caller.call("foreign/add", { a: 2, b: 3 }, { headers: { x: "y" } });
    const request = await client.next("request");
    const { id, remainingMs, peer, ...rest } = request;
    const value = { a: 2, b: 3 };
    const headers = { x: "y" };
    assert.deepEqual(rest, {
      type: "request",
      address: "foreign/add",
      priority: 128,
      headers,
      value,
    });
    assert.ok(Number(remainingMs) > 0);
    assert.equal((peer as { module?: string })?.module, name === "near" ? "near" : undefined);
    client.say({ type: "response", id, value: 5 });
    assert.equal(await sum, 5);
    const failing = refused(caller.call("foreign/add", 1), "overloaded");
    const { id: second } = await client.next("request");
    client.say({ type: "error", id: second, error: { code: "overloaded", message: "busy" } });
    assert.equal((await failing).message, "busy");
  }
  const abort = new AbortController();
  const given = near.call("foreign/add", 1, { signal: abort.signal }).catch((e: Error) => e);
  const { id } = await client.next("request");
  abort.abort(new Error("enough"));
  assert.equal((await given as Error).message, "enough");
  await client.next("cancel", id as number);
  await client.ask({ ...offer, type: "unregister" }, "register-ack");
  await refused(near.call("foreign/add", 1), "not_found");
});

Deno.test("json: a client listens: to the hub, to others, to what was retained", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using far = await bay("far", { url });
  const fromHub = await hub.speaker("hub/n", { retain: true });
  const fromFar = await far.speaker("far/n");
  await fromHub.shout({ first: true });
  await using client = await JsonClient.open(url);
  await client.ask({ type: "subscribe", id: 1, pattern: "*/n", retained: true }, "subscribe-ack");
  const kept = await client.next("event", 1);
  assert.deepEqual([kept.value, kept.retained], [{ first: true }, true]);
  await fromHub.shout([1, "zwei"]);
  assert.deepEqual(await client.next("event", 1), {
    type: "event",
    id: 1,
    address: "hub/n",
    sequence: 2,
    priority: 128,
    value: [1, "zwei"],
  });
  await fromFar.shout({ deep: { text: "y".repeat(50_000) } }, { headers: { a: "b" } });
  const heard = await client.next("event", 1);
  assert.deepEqual([heard.address, heard.headers, (heard.peer as { module: string }).module], [
    "far/n",
    { a: "b" },
    "far",
  ]);
  assert.equal((heard.value as { deep: { text: string } }).deep.text.length, 50_000);
  await fromFar.shout(new Uint8Array([1, 2]));
  assert.equal((await client.next("event", 1)).bytes, "AQI=");
  await fromFar.shout({ big: 5n });
  assert.equal(code(await client.next("event", 1)), "invalid");
  client.say({ type: "unsubscribe", id: 1 });
  await until("it to have gone", () => fromHub.listeners === 0);
  const wrong = await client.ask({ type: "subscribe", id: 2, pattern: "a/**/b" }, "error");
  assert.equal(code(wrong), "invalid");
});

Deno.test("json: a blocking listener holds the speaker until it gives credit", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using far = await bay("far", { url });
  const speaker = await far.speaker<number>("far/n");
  await using client = await JsonClient.open(url);
  const terms = { pattern: "far/n", overflow: "block", maxQueue: 4 };
  await client.ask({ type: "subscribe", id: 1, ...terms }, "subscribe-ack");
  let shouted = 0;
  const shouting = (async () => {
    for (let n = 0; n < 100; n++) {
      await speaker.shout(n);
      shouted++;
    }
  })();
  for (let n = 0; n < 100; n++) {
    assert.equal((await client.next("event", 1)).value, n);
    assert.ok(shouted <= n + 4 * 3 + 2, `${shouted} shouted, ${n} heard`);
    client.say({ type: "credit", id: 1, count: 1 });
  }
  await settled("all shouts", shouting);
});

Deno.test("json: a client shouts: the hub and others hear it, with acknowledgement and retained", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using near = await bay("near", { url });
  const heard: unknown[] = [];
  await hub.listen("foreign/*", (v, { sequence }) => void heard.push(["hub", v, sequence]));
  await near.listen("foreign/*", (v, { peer }) => void heard.push(["near", v, peer?.module]));
  await using client = await JsonClient.open(url, { module: "foreign" });
  const shout = { type: "shout", address: "foreign/n" };
  await client.ask({ ...shout, id: 1, value: 1, retain: true }, "shout-ack");
  await until("both to hear it", () => heard.length === 2);
  assert.deepEqual(heard.sort(), [["hub", 1, 1], ["near", 1, "foreign"]]);
  const ack = await client.ask({ ...shout, id: 2, bytes: "AQI=" }, "shout-ack");
  assert.equal(ack.listeners, 2);
  await until("both to hear it again", () => heard.length === 4);
  assert.deepEqual(heard[2], ["hub", new Uint8Array([1, 2]), 2]);
  const late: unknown[] = [];
  await near.listen("foreign/n", (v) => void late.push(v), { retained: true });
  await until("the retained value", () => late.length === 1);
  // A blocking listener: the acknowledgement waits for it.
  const slow = await near.listen("foreign/slow", { overflow: "block", maxQueue: 2 });
  const say = (id: number) => client.say({ type: "shout", address: "foreign/slow", id, value: id });
  for (let id = 10; id < 16; id++) say(id);
  for (let id = 10; id < 12; id++) await client.next("shout-ack", id);
  const values: unknown[] = [];
  const reading = (async () => {
    for await (const value of slow) if (values.push(value) === 4) break;
  })();
  await settled("all to be heard", reading);
  assert.deepEqual(values, [10, 11, 12, 13]);
  // More than may wait: those are refused, each under its id.
  const refusals = client.unread.filter((m) => m.type === "error").map((m) => m.id);
  assert.ok(refusals.every((id) => Number(id) >= 14), JSON.stringify(client.unread));
});

Deno.test("json: jobs: feedback, progress, result, cancel, and attached again after a cut", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using far = await bay("far", { url });
  const release = Promise.withResolvers<void>();
  await far.perform<number, number, string>(
    "far/count",
    async (to, { feedback, progress, signal }) => {
      for (let n = 1; n <= to; n++) feedback(n);
      progress(0.5);
      if (to === 3) await release.promise;
      if (to === 9) {
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      }
      return "done";
    },
  );
  const client = await JsonClient.open(url, { id: "0123456789abcdef" });
  client.say({ type: "goal", id: 1, address: "far/count", value: 2 });
  await client.next("accepted", 1);
  assert.equal((await client.next("feedback", 1)).value, 1);
  assert.equal((await client.next("feedback", 1)).sequence, 2);
  assert.equal((await client.next("progress", 1)).fraction, 0.5);
  assert.equal((await client.next("result", 1)).value, "done");
  client.say({ type: "goal", id: 2, address: "far/count", value: 9 });
  await client.next("progress", 2);
  client.say({ type: "cancel-job", id: 2, reason: "enough" });
  assert.ok(await client.next("error", 2));
  const job = "0f".repeat(16);
  client.say({ type: "goal", id: 3, address: "far/count", value: 3, job });
  await client.next("progress", 3);
  await client.close();
  await using again = await JsonClient.open(url, { id: "0123456789abcdef" });
  again.say({ type: "attach", id: 1, address: "far/count", job, after: 1 });
  await again.next("accepted", 1);
  assert.equal((await again.next("feedback", 1)).sequence, 2);
  release.resolve();
  assert.equal((await again.next("result", 1)).value, "done");
  const missing = await again.ask(
    { type: "goal", id: 5, address: "far/nothing", value: 1 },
    "error",
  );
  assert.equal(code(missing), "not_found");
});

Deno.test("json: a client performs a job: goal, cancel, error and result", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using near = await bay("near", { url });
  await using client = await JsonClient.open(url, { module: "foreign" });
  const offer = { type: "register", id: 1, pattern: "job", address: "foreign/paint" };
  await client.ask(offer, "register-ack");
  const started = near.execute<string, number, string>("foreign/paint", "wall");
  const goal = await client.next("goal");
  assert.equal(goal.value, "wall");
  const { id } = goal;
  client.say({ type: "accepted", id });
  const job = await started;
  client.say({ type: "feedback", id, sequence: 1, value: 41 });
  client.say({ type: "progress", id, sequence: 2, fraction: 0.25 });
  client.say({ type: "result", id, value: "painted" });
  assert.equal(await settled("the job", job.result), "painted");
  const feedback: number[] = [];
  for await (const value of job.feedback) feedback.push(value);
  assert.deepEqual(feedback, [41]);
  const startedToo = near.execute("foreign/paint", "door");
  const { id: second } = await client.next("goal");
  client.say({ type: "accepted", id: second });
  const other = await startedToo;
  other.cancel(new Error("no more"));
  assert.equal((await client.next("cancel-job", second as number)).reason, "no more");
  client.say({ type: "error", id: second, error: { code: "remote", message: "stopped" } });
  await settled("the end", other.result.catch(() => {}));
});

Deno.test("json: what breaks the protocol ends that connection alone, with a code", async () => {
  const reports: PatchbayError[] = [];
  const { hub, url } = await hubAt({ maxMessageBytes: 100_000 }, reports);
  await using _ = hub;
  await hub.serve("hub/echo", (v) => v);
  await using good = await JsonClient.open(url);
  const before = [
    ["{", 1002, /no JSON/],
    ["[]", 1002, /no object/],
    ["{}", 1002, /without a type/],
    ['{"type":"request"}', 1002, /not hello/],
    ['{"type":"hello","versions":[7,9]}', 1002, /versions 7 to 9/],
  ] as const;
  for (const [text, closed, reason] of before) {
    const client = await JsonClient.open(url, null);
    client.raw(text);
    const { error } = await client.next("goodbye") as unknown as { error: { message: string } };
    assert.match(error.message, reason);
    const end = await settled("the close", client.closed);
    assert.equal(end.code, closed, text);
    assert.match(end.reason, reason);
  }
  const after = [
    ["nonsense", 1002],
    ['{"type":"hello"}', 1002],
    ['{"type":"dance","id":1}', 1002],
    ['{"type":"response","id":"x"}', 1007],
    [new Uint8Array(40), 1002],
    [JSON.stringify({ type: "shout", value: "z".repeat(400_000) }), 1009],
  ] as const;
  for (const [data, closed] of after) {
    const client = await JsonClient.open(url);
    client.raw(data);
    await client.next("goodbye");
    assert.equal(
      (await settled("the close", client.closed)).code,
      closed,
      String(data).slice(0, 99),
    );
  }
  assert.equal(reports.length, before.length + after.length);
  // One message that is too large is its own failure.
  const value = "z".repeat(150_000);
  const ask = { type: "request", id: 1, address: "hub/echo" };
  assert.equal(code(await good.ask({ ...ask, value }, "error")), "too_large");
  assert.equal((await good.ask({ ...ask, id: 2, value: 7 }, "response")).value, 7);
  assert.ok((counted(hub).errors.protocol ?? 0) >= 9);
});

Deno.test("json: token and authorize hold for such clients, too", async () => {
  const asked: string[] = [];
  const { hub, url } = await hubAt({ token: "open sesame" }, [], {
    authorize: (peer, verb, address) => {
      asked.push(`${peer.module} ${verb} ${address}`);
      return !address.endsWith("secret");
    },
  });
  await using _ = hub;
  await hub.serve("hub/echo", (v) => v);
  await hub.serve("hub/secret", (v) => v);
  const wrong = await JsonClient.open(url, null);
  wrong.say({ type: "hello", credentials: "open barley" });
  assert.equal(code(await wrong.next("goodbye")), "unauthenticated");
  assert.equal((await settled("the close", wrong.closed)).code, 1008);
  await using client = await JsonClient.open(url, {
    module: "foreign",
    credentials: "open sesame",
  });
  const ask = { type: "request", id: 1, value: 1 };
  assert.equal((await client.ask({ ...ask, address: "hub/echo" }, "response")).value, 1);
  const secret = { ...ask, id: 2, address: "hub/secret" };
  assert.equal(code(await client.ask(secret, "error")), "forbidden");
  const listen = { type: "subscribe", id: 3, pattern: "hub/secret" };
  assert.equal(code(await client.ask(listen, "error")), "forbidden");
  const shout = { type: "shout", id: 4, address: "foreign/secret", value: 1 };
  assert.equal(code(await client.ask(shout, "error")), "forbidden");
  // Nobody waits for this one: it is told all the same.
  client.say({ type: "shout", address: "foreign/secret", value: 1 });
  assert.equal(code(await client.next("error", 0)), "forbidden");
  assert.ok(asked.includes("foreign call hub/echo"), asked.join());
  assert.ok(asked.includes("foreign shout foreign/secret"), asked.join());
});

Deno.test("hub: a number that stands for an offer already is refused, and leaves nothing behind", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  const client = await JsonClient.open(url);
  const offer = (id: number, address: string) => (
    { type: "register", id, pattern: "callable", address }
  );
  assert.equal((await client.ask(offer(5, "a/one"), "register-ack")).error, undefined);
  assert.equal(code(await client.ask(offer(5, "a/two"), "register-ack")), "invalid");
  await client.close();
  await using other = await JsonClient.open(url);
  await until("the first to be free again", async () => {
    const { error } = await other.ask(
      offer(Math.floor(performance.now() * 1000), "a/one"),
      "register-ack",
    );
    return error === undefined;
  });
});

Deno.test("hub: what is taken back while it is being decided on is not there", async () => {
  let decide = Promise.withResolvers<boolean>();
  const { hub, url } = await hubAt({}, [], { authorize: () => decide.promise });
  await using _ = hub;
  await using client = await JsonClient.open(url);
  const offer = { type: "register", id: 7, pattern: "callable", address: "b/ghost" };
  client.say(offer);
  const ack = await client.ask({ ...offer, type: "unregister" }, "register-ack");
  assert.equal(ack.error, undefined);
  decide.resolve(true);
  decide = Promise.withResolvers<boolean>();
  decide.resolve(true);
  await using other = await JsonClient.open(url);
  assert.equal((await other.ask({ ...offer, id: 1 }, "register-ack")).error, undefined);
  assert.deepEqual(client.unread, []);
});

Deno.test("hub: a late listener gets the last value, whichever speaker of the address came first", async () => {
  const { hub, url } = await hubAt();
  await using _ = hub;
  await using far = await bay("far", { url });
  await using _plain = await far.speaker("x/height");
  await using keeping = await far.speaker("x/height", { retain: true });
  await keeping.shout(1);
  await using near = await bay("near", { url });
  await using late = await bay("late", { url });
  // The second joins what the first has begun at the hub.
  for (const [name, one] of [["near", near], ["late", late]] as const) {
    const heard = Promise.withResolvers<unknown>();
    await one.listen("x/height", heard.resolve, { retained: true });
    assert.equal(await settled(`the last value at ${name}`, heard.promise), 1);
  }
});
