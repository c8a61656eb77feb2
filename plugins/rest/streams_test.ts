/**
 * Speakers and jobs as programs without Patchbay use them: curl, an event stream, a poll.
 *
 * @module
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { createParser, type EventSourceMessage } from "npm:eventsource-parser@4.1.3";
import { defineJob, defineSpeaker, open } from "@patchbay/core";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import rest from "./mod.ts";
import { bayWith, counted, LISTENERS, post, problem } from "./testdata/bay.ts";

const curl = await requireOrIgnore("curl", async () => {
  const command = new Deno.Command("curl", { args: ["--version"], stdout: "null" });
  return (await command.output()).success;
}, "apt-get install curl");

/** Runs curl, and gives what it printed. */
async function run(...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command("curl", { args: ["-sS", "-m", "20", ...args] })
    .output();
  return new TextDecoder().decode(stdout);
}

/** An event stream that is read event by event. */
class Events {
  readonly response: Response;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #events: EventSourceMessage[] = [];
  readonly #decoder = new TextDecoder();
  readonly #parser = createParser({ onEvent: (event) => void this.#events.push(event) });

  constructor(response: Response) {
    this.response = response;
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    this.#reader = response.body!.getReader();
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<Events> {
    return new Events(
      await fetch(url, { headers: { accept: "text/event-stream", ...headers } }),
    );
  }

  /** The next event; `undefined` at the end. */
  async next(): Promise<EventSourceMessage | undefined> {
    while (this.#events.length === 0) {
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#parser.feed(this.#decoder.decode(value, { stream: true }));
    }
    return this.#events.shift();
  }

  async rest(): Promise<EventSourceMessage[]> {
    const events = [];
    for (let one = await this.next(); one !== undefined; one = await this.next()) events.push(one);
    return events;
  }

  async close(): Promise<void> {
    await this.#reader.cancel();
  }
}

async function until(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const COUNT = defineJob<number, number, string>({ address: "arm/count" });

for (const listener of LISTENERS) {
  Deno.test(`rest (${listener}): shouts are events of plain JSON; patterns name the address`, async () => {
    await using bay = await bayWith({ listener });
    const pose = await bay.speaker(defineSpeaker<unknown>({ address: "arm/pose", retain: true }));
    const grip = await bay.speaker<unknown>("arm/grip");
    pose.shout({ x: 0 });
    const exact = await Events.open(`${bay.url}/arm/pose`);
    const retained = await Events.open(`${bay.url}/arm/pose?retained=1`);
    const all = await Events.open(`${bay.url}/arm/*`);
    await until(() => pose.listeners === 3 && grip.listeners === 1);
    pose.shout({ x: 1 });
    grip.shout(Uint8Array.of(1, 2, 3));
    grip.shout(undefined);
    assert.deepEqual(JSON.parse((await retained.next())?.data ?? ""), { x: 0 });
    for (const stream of [exact, retained]) {
      const event = await stream.next();
      assert.deepEqual([event?.event, event?.data], [undefined, '{"x":1}']);
    }
    const events = [await all.next(), await all.next(), await all.next()];
    assert.deepEqual(events.map((event) => [event?.event, event?.data]), [
      ["arm/pose", '{"x":1}'],
      ["arm/grip", "AQID"],
      ["arm/grip", "null"],
    ]);
    for (const stream of [exact, retained, all]) await stream.close();
    await until(() => pose.listeners === 0);
    await problem(await fetch(`${bay.url}/arm/nothing`), 404, "not_found");
    const json = { headers: { accept: "application/json" } };
    assert.deepEqual(await (await fetch(`${bay.url}/arm/pose`, json)).json(), { x: 1 });
    await problem(await fetch(`${bay.url}/arm/grip`, json), 406, "not_found");
    await problem(await fetch(`${bay.url}/arm/pose?overflow=explode`), 400, "invalid");
    const head = await fetch(`${bay.url}/arm/pose`, { method: "HEAD" });
    assert.deepEqual([head.status, pose.listeners], [200, 0]);
  });

  Deno.test(`rest (${listener}): who comes back with Last-Event-ID has missed nothing that is kept`, async () => {
    await using bay = await bayWith({ listener, replayEvents: 5 });
    const speaker = await bay.speaker<number>("arm/tick");
    const other = await bay.speaker<number>("leg/tick");
    const url = `${bay.url}/arm/tick`;
    const first = await Events.open(url);
    await until(() => speaker.listeners === 1);
    speaker.shout(1);
    const id = (await first.next())?.id ?? "";
    await first.close();
    await until(() => speaker.listeners === 0);
    speaker.shout(2);
    other.shout(99);
    speaker.shout(3);
    const again = await Events.open(url, { "last-event-id": id });
    speaker.shout(4);
    assert.deepEqual(
      [await again.next(), await again.next(), await again.next()].map((e) => e?.data),
      [
        "2",
        "3",
        "4",
      ],
    );
    await again.close();
    await until(() => speaker.listeners === 0);
    for (let n = 5; n <= 12; n++) speaker.shout(n);
    // Only so much is kept: the gap is counted, the rest comes. A browser's first try has a query.
    const late = await Events.open(`${url}?last_event_id=${id}`);
    for (let n = 8; n <= 12; n++) assert.equal((await late.next())?.data, String(n));
    assert.equal(counted(bay).drops.replay_gap, 1);
    await late.close();
    // The id of another life, or of somebody else, is no reason to refuse.
    const odd = await Events.open(url, { "last-event-id": "0123456789abcdef.7" });
    await until(() => speaker.listeners === 1);
    speaker.shout(13);
    assert.equal((await odd.next())?.data, "13");
    await odd.close();
  });

  Deno.test(`rest (${listener}): a client that does not read costs its bound, and is let go`, async () => {
    await using bay = await bayWith({ listener, maxQueueBytes: 64 * 1024, eventPingMs: 50 });
    const speaker = await bay.speaker<string>("arm/flood");
    const { hostname, port } = new URL(bay.url);
    const deaf = connect(Number(port), hostname);
    const gone = new Promise<void>((resolve) => deaf.on("close", () => resolve()));
    deaf.on("error", () => {});
    deaf.pause();
    deaf.write("GET /arm/flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const good = await Events.open(`${bay.url}/arm/flood`);
    await until(() => speaker.listeners === 2);
    let heard = 0;
    const value = "x".repeat(10_000);
    const reading = (async () => {
      for (let one = await good.next(); one?.data !== '"the end"'; one = await good.next()) heard++;
    })();
    // 200 MB.
    for (let n = 0; n < 20_000; n++) {
      speaker.shout(value);
      if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    speaker.shout("the end");
    await reading;
    // After three pings that find it as it was, nobody waits for it any longer.
    await until(() => speaker.listeners === 1);
    const [dropped] = bay.statistics.snapshot(Date.now()).endpoints.filter((e) =>
      e.address === "arm/flood" && e.role === "speaker"
    );
    // What was not dropped was read, or is in the buffers of the kernel, which are a few MB.
    const drops = Object.values(dropped.drops).reduce((sum, n) => sum + n, 0);
    const sent = Math.round(dropped.bytesOut / 10_002);
    const held = sent - drops - heard;
    assert.ok(held < 3000, `${held} of ${sent} went to who does not read`);
    await good.close();
    // Its connection is no burden when the bay closes.
    await bay.close();
    deaf.resume();
    deaf.destroy();
    await gone;
  });

  Deno.test(`rest (${listener}): a job is 202 and Location, a status, a stream, a result`, async () => {
    await using bay = await bayWith({ listener });
    const gate = Promise.withResolvers<void>();
    await bay.perform(COUNT, async (goal, { feedback, progress }) => {
      for (let n = 1; n <= goal; n++) {
        feedback(n);
        progress(n / goal);
        if (n === 2) await gate.promise;
      }
      return `done ${goal}`;
    }, { accept: (goal) => goal <= 10 || "too far" });
    const url = `${bay.url}/arm/count`;
    const begun = await fetch(url, post(3));
    const location = begun.headers.get("location") ?? "";
    const told = await begun.json();
    assert.equal(begun.status, 202);
    assert.equal(location, `/arm/count/${told.id}`);
    assert.match(told.id, /^[0-9a-f]{32}$/);
    const at = bay.url + location;
    const running = await (await fetch(at)).json();
    assert.deepEqual([running.state, running.progress], ["running", 2 / 3]);
    const early = await fetch(`${at}/result`);
    assert.deepEqual([early.status, (await early.json()).state], [202, "running"]);
    // Two watch; one goes and comes back behind what it has had.
    const watcher = await Events.open(at);
    const leaver = await Events.open(at);
    const had = [await leaver.next(), await leaver.next()];
    assert.deepEqual(had.map((e) => [e?.event, e?.id, e?.data]), [
      ["feedback", "1", "1"],
      ["progress", "2", String(1 / 3)],
    ]);
    await leaver.close();
    gate.resolve();
    const back = await Events.open(at, { "last-event-id": "2" });
    assert.deepEqual((await back.rest()).map((e) => [e.event, e.id, e.data]), [
      ["feedback", "3", "2"],
      ["progress", "4", String(2 / 3)],
      ["feedback", "5", "3"],
      ["progress", "6", "1"],
      ["result", "7", '"done 3"'],
    ]);
    assert.equal((await watcher.rest()).length, 7);
    // An EventSource that comes once more is told to stop.
    const over = await fetch(at, {
      headers: { accept: "text/event-stream", "last-event-id": "7" },
    });
    assert.deepEqual([over.status, await over.text()], [204, ""]);
    const ended = await (await fetch(at)).json();
    assert.deepEqual(ended, {
      id: told.id,
      state: "succeeded",
      progress: 1,
      result: `${location}/result`,
    });
    assert.equal(await (await fetch(`${at}/result`)).json(), "done 3");
    const refusal = await problem(await fetch(url, post(11)), 500, "remote");
    assert.equal(refusal.detail, "too far");
    await problem(await fetch(`${url}/${"0".repeat(32)}`), 404, "not_found");
    await problem(await fetch(`${url}/nonsense`), 404, "not_found");
  });

  Deno.test(`rest (${listener}): DELETE cancels a job; its end is told, once it has ended too`, async () => {
    await using bay = await bayWith({ listener });
    await bay.perform(COUNT, (_goal, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }));
    const stream = new Events(
      await fetch(`${bay.url}/arm/count`, {
        ...post(1),
        headers: { accept: "text/event-stream", "content-type": "application/json" },
      }),
    );
    assert.equal(stream.response.status, 202);
    const at = bay.url + stream.response.headers.get("location");
    const asked = await fetch(`${at}?reason=the%20part%20is%20gone`, { method: "DELETE" });
    assert.equal(asked.status, 202);
    await asked.body?.cancel();
    const [end] = await stream.rest();
    assert.equal(end.event, "error");
    const told = JSON.parse(end.data);
    assert.deepEqual([told.code, told.detail], ["remote", "the part is gone"]);
    const again = await fetch(at, { method: "DELETE" });
    assert.deepEqual([again.status, (await again.json()).state], [200, "failed"]);
    await problem(await fetch(`${at}/result`), 500, "remote");
  });
}

Deno.test({
  name: curl.name("rest: curl calls, listens, and runs a job from its POST to its DELETE"),
  ignore: curl.ignore,
  fn: async () => {
    await using bay = await bayWith();
    await bay.serve("arm/move", ({ to }: { to: number }) => ({ at: to }));
    const speaker = await bay.speaker<number>("arm/tick");
    await bay.perform(COUNT, (goal, { feedback, signal }) => {
      for (let n = 1; n <= goal; n++) feedback(n);
      return goal < 10 ? `done ${goal}` : new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    });
    assert.equal(await run(`${bay.url}/arm/move`, "--json", '{"to": 3}'), '{"at":3}');
    const wrong = await run("-i", `${bay.url}/arm/move`, "-d", "to=3");
    assert.match(wrong, /^HTTP\/1\.1 415 [^]*application\/problem\+json[^]*content-type/);

    const listening = run("-N", "--max-filesize", "1000000", "-m", "2", `${bay.url}/arm/tick`);
    await until(() => speaker.listeners === 1);
    for (let n = 1; n <= 3; n++) speaker.shout(n);
    const heard = await listening;
    assert.deepEqual(heard.match(/^data: .*$/gm), ["data: 1", "data: 2", "data: 3"]);
    const lastId = heard.match(/^id: .*$/gm)?.at(-2)?.slice(4) ?? "";
    const resumed = await run(
      "-N",
      "-m",
      "1",
      "-H",
      `Last-Event-ID: ${lastId}`,
      `${bay.url}/arm/tick`,
    );
    assert.deepEqual(resumed.match(/^data: .*$/gm), ["data: 3"]);

    const json = ["--json", "2"];
    const begun = await run("-i", `${bay.url}/arm/count`, ...json);
    assert.match(begun, /^HTTP\/1\.1 202 Accepted/);
    const location = /^location: (.*)\r$/im.exec(begun)?.[1] ?? "";
    const events = await run("-N", "-H", "Accept: text/event-stream", bay.url + location);
    assert.deepEqual(events.match(/^(event|data): .*$/gm), [
      "event: feedback",
      "data: 1",
      "event: feedback",
      "data: 2",
      "event: result",
      'data: "done 2"',
    ]);
    const tail = await run(
      ...["-N", "-H", "Accept: text/event-stream", "-H", "Last-Event-ID: 2"],
      bay.url + location,
    );
    assert.deepEqual(tail.match(/^data: .*$/gm), ['data: "done 2"']);
    assert.equal(await run(`${bay.url}${location}/result`), '"done 2"');
    const long = JSON.parse(await run(`${bay.url}/arm/count`, "--json", "10"));
    const at = `${bay.url}/arm/count/${long.id}`;
    assert.equal(JSON.parse(await run("-X", "DELETE", at)).id, long.id);
    await until(() => bay.statistics.snapshot(0).endpoints.every((e) => e.pending === 0));
    assert.equal(JSON.parse(await run(at)).state, "failed");
  },
});

Deno.test({
  name: curl.name("rest: curl and a bay call over the Unix socket in the runtime directory"),
  ignore: curl.ignore,
  fn: async () => {
    const parent = await Deno.makeTempDir({ prefix: "pb-" });
    {
      const path = openRuntimeDir({ path: `${parent}/run` });
      const options = (module: string) => ({
        module,
        plugins: [rest] as const,
        directory: (identity: Parameters<typeof HostDirectory.open>[0]) =>
          HostDirectory.open(identity, { path }),
      });
      await using arm = await open(options("arm"));
      await using desk = await open(options("desk"));
      assert.equal(arm.transport(rest).url, "");
      await arm.serve("arm/move", (to) => `at ${to}`);
      const { url } = arm.transport(rest);
      assert.equal(url, `unix:${path}/arm.rest.sock`);
      assert.equal(await desk.call("arm/move", 3), "at 3");
      const socket = url.slice("unix:".length);
      assert.equal((await Deno.stat(socket)).mode! & 0o777, 0o600);
      const told = await run("--unix-socket", socket, "http://arm/arm/move", "--json", "4");
      assert.equal(told, '"at 4"');
    }
    await Deno.remove(parent, { recursive: true });
  },
});
