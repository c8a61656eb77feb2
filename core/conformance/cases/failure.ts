/**
 * Failure: the wire is cut, or a stranger writes nonsense to it.
 *
 * @module
 */

import type { Case, CaseContext } from "../case.ts";
import { equal, ok, PATIENT, range, refused } from "../expect.ts";
import { patternBytes } from "../recipes.ts";
import { Tally } from "../tally.ts";

const APART = ["same_process", "two_processes"] as const;

async function sever({ meeting, wait }: CaseContext): Promise<void> {
  if (meeting.sever === undefined) throw new Error("the fixture has no sever()");
  await wait("the wire to be cut", meeting.sever());
}

/** Sends bytes as a stranger, and sees that the others are not disturbed. */
async function strange(
  context: CaseContext,
  bytes: Uint8Array,
  expected: (reply: string) => void = () => {},
): Promise<void> {
  const { near, play, meeting, wait, farModule, until } = context;
  if (meeting.stranger === undefined) throw new Error("the fixture has no stranger()");
  const server = await play("server", { address: "far/gate", kind: "gate" });
  await play("server", { address: "far/echo", kind: "echo" });
  const pending = near.call("far/gate", "undisturbed", { timeoutMs: 25_000 });
  await wait("the pending call to arrive", server.ask("entered", { count: 1 }));
  const strangers = range(1, 3).map(() => meeting.stranger?.(bytes, farModule));
  equal(await wait("an undisturbed call", near.call("far/echo", 1, PATIENT)), 1);
  for (const outcome of await wait("the strangers to be refused", Promise.all(strangers))) {
    ok(outcome?.closed === true, "the connection of a stranger must be closed");
    expected(new TextDecoder().decode(outcome.reply));
  }
  equal(await wait("an undisturbed call", near.call("far/echo", 2, PATIENT)), 2);
  await server.ask("release");
  equal(await wait("the pending call", pending), "undisturbed");
  await until("nothing to be left", () => {
    const { endpoints } = near.statistics.snapshot(Date.now());
    return endpoints.every((endpoint) => endpoint.pending === 0);
  });
}

/** Text that no program of ours begins a connection with. */
const HTTP = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");

/** Nonsense by name. Every length prefix one can think of is announced and not kept. */
const NONSENSE: Readonly<Record<string, () => Uint8Array>> = {
  "garbage": () => patternBytes(4096),
  "zeros": () => new Uint8Array(4096),
  "a request of another protocol": () => HTTP,
  "a huge announced length": () => new Uint8Array(64).fill(0xff),
  "a length of 2 GiB, little-endian": () => Uint8Array.of(0xff, 0xff, 0xff, 0x7f, 1, 2, 3),
  "a length of 2 GiB, big-endian": () => Uint8Array.of(0x7f, 0xff, 0xff, 0xff, 1, 2, 3),
  "one byte": () => Uint8Array.of(1),
  "nothing": () => new Uint8Array(0),
  "a megabyte of garbage": () => patternBytes(1024 * 1024),
};

/** The cases. */
export const FAILURE: readonly Case[] = [
  {
    name: "failure: a cut wire rejects pending calls with closed, and the next call goes through",
    pattern: "callable",
    means: "sever",
    layouts: APART,
    run: async (context) => {
      const { near, play, wait, until } = context;
      const server = await play("server", { address: "far/hang", kind: "hang" });
      await play("server", { address: "far/echo", kind: "echo" });
      for (const round of [1, 2, 3]) {
        const calls = range(1, 3).map((n) => near.call("far/hang", n, { timeoutMs: Infinity }));
        const ends = calls.map((call) => refused(call, "closed", "a call on a cut wire"));
        await wait("the calls to arrive", server.ask("entered", { count: round * 3 }));
        await sever(context);
        for (const error of await wait("the calls to end", Promise.all(ends))) {
          ok(error.retryable, "a call on a cut wire may be tried again");
        }
        await wait("the handlers to learn of it", server.ask("aborted", { count: round * 3 }));
        await until("a call to go through", () => {
          return near.call("far/echo", round).then((v) => v === round, () => false);
        });
      }
    },
  },
  {
    name: "failure: reconnections are counted, and the wire is healthy again",
    pattern: "callable",
    means: "sever",
    layouts: APART,
    run: async (context) => {
      const { near, play, until, fixture } = context;
      await play("server", { address: "far/echo", kind: "echo" });
      equal(await near.call("far/echo", 1, PATIENT), 1);
      await sever(context);
      await until("a call to go through", () => {
        return near.call("far/echo", 2).then((v) => v === 2, () => false);
      });
      await until("the wire to be healthy", () => {
        const wire = near.wires().find((each) => each.name === fixture.plugin.name);
        return wire?.health?.status === "healthy";
      });
      const { transports } = near.statistics.snapshot(Date.now());
      const counted = transports.find((each) => each.name === fixture.plugin.name);
      ok((counted?.reconnections ?? 0) >= 1, "the reconnection is not counted");
    },
  },
  {
    name: "failure: a listener hears again after a cut, in order and nothing twice",
    pattern: "speaker",
    means: "sever",
    layouts: APART,
    run: async (context) => {
      const { near, play, until } = context;
      const far = await play("speaker", { address: "far/tick" });
      const heard = new Tally<number>();
      await near.listen<number>("far/tick", (n) => heard.add(n), { maxQueue: 100_000 });
      let n = 0;
      for (const round of [1, 2, 3]) {
        // One of the round before may still be on its way: it says nothing of this round.
        const first = n + 1;
        await until(`a shout of round ${round} to be heard`, async () => {
          n++;
          await far.ask("shout", { range: [n, n] });
          return (heard.items.at(-1) ?? 0) >= first;
        });
        if (round < 3) await sever(context);
      }
      await far.ask("shout", { range: [n + 1, n + 10] });
      await until("the last to be heard", () => heard.items.at(-1) === n + 10);
      const sorted = [...new Set(heard.items)].sort((a, b) => a - b);
      equal(heard.items, sorted, "in order, and nothing twice");
    },
  },
  {
    name: "failure: a job goes on over a cut: no feedback lost or doubled, and its result",
    pattern: "job",
    means: "sever",
    layouts: APART,
    run: async (context) => {
      const { near, play, wait } = context;
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      const job = await near.execute<string, number, string>("far/job", "the end");
      await wait("the worker to begin", far.ask("entered", { count: 1 }));
      const seen = new Tally<number>();
      const reading = (async () => {
        for await (const value of job.feedback) seen.add(value);
      })();
      await far.ask("feedback", { range: [1, 20] });
      await wait("the first feedback", seen.reach(20));
      await sever(context);
      await far.ask("feedback", { range: [21, 40] });
      await wait("what was missed", seen.reach(40));
      await sever(context);
      await far.ask("feedback", { range: [41, 60] });
      await far.ask("release");
      equal(await wait("the result", job.result), "the end");
      await wait("the feedback to end", reading);
      equal([...seen.items], range(1, 60));
      equal(job.state, "succeeded");
      equal(await far.ask("count"), 1, "the goal is begun once");
    },
  },
  {
    name: "failure: a job that ends while the wire is cut delivers its result afterwards",
    pattern: "job",
    means: "sever",
    layouts: APART,
    run: async (context) => {
      const { near, play, wait } = context;
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      const job = await near.execute("far/job", "found again");
      await wait("the worker to begin", far.ask("entered", { count: 1 }));
      await sever(context);
      await far.ask("release");
      equal(await wait("the result", job.result), "found again");
    },
  },
  {
    name: "failure: a job can be cancelled after a cut",
    pattern: "job",
    means: "sever",
    layouts: APART,
    run: async (context) => {
      const { near, play, wait } = context;
      const far = await play("worker", { address: "far/job", kind: "obedient" });
      const job = await near.execute("far/job", 1);
      await wait("the worker to begin", far.ask("entered", { count: 1 }));
      await sever(context);
      job.cancel(new Error("after the cut"));
      const outcome = job.result.then(() => "a result", (error) => (error as Error).message);
      equal(await wait("the end", outcome), "after the cut");
      await wait("the worker to learn of it", far.ask("aborted", { count: 1 }));
    },
  },
  {
    name: "failure: a blocking listener goes on after a cut, and its speaker is let go",
    pattern: "speaker",
    means: "sever",
    layouts: APART,
    run: async (context) => {
      const { near, play, wait, traits, until } = context;
      if (!traits.backpressure) return;
      const far = await play("speaker", { address: "far/flood" });
      const listener = await near.listen<number>("far/flood", { maxQueue: 4, overflow: "block" });
      await far.ask("begin", { range: [1, 100], yielding: true });
      await wait("the speaker to be held", far.ask("blocked", { count: 1 }));
      await sever(context);
      const seen = new Tally<number>();
      const reading = (async () => {
        for await (const value of listener) seen.add(value);
      })();
      equal(await wait("the speaker to finish", far.ask("finished")), "done");
      let n = 100;
      await until("a later shout to be heard", async () => {
        n++;
        await far.ask("shout", { range: [n, n] });
        return (seen.items.at(-1) ?? 0) > 100;
      });
      await wait("the listener to close", listener.close());
      await wait("the loop to end", reading);
      equal([...seen.items], [...new Set(seen.items)].sort((a, b) => a - b), "ordered, once");
    },
  },
  ...Object.entries(NONSENSE).map(([name, bytes]): Case => ({
    name: `failure: ${name} closes that connection, and nobody else is disturbed`,
    pattern: "callable",
    means: "stranger",
    layouts: APART,
    run: (context) => strange(context, bytes()),
  })),
  {
    name: "failure: a peer of another version is refused with the reason",
    pattern: "callable",
    means: "stranger",
    layouts: APART,
    run: async (context) => {
      const bytes = context.meeting.otherVersion?.();
      if (bytes === undefined) throw new Error("a fixture with stranger() needs otherVersion()");
      await strange(context, bytes, (reply) => {
        ok(/version/i.test(reply), `the refusal should speak of versions: ${reply}`);
      });
      const { meeting, wait, farModule, near } = context;
      const cut = meeting.stranger?.(bytes.subarray(0, bytes.length - 1), farModule);
      ok((await wait("a cut hello", Promise.resolve(cut)))?.closed === true, "it must be closed");
      equal(await wait("an undisturbed call", near.call("far/echo", 2, PATIENT)), 2);
    },
  },
];
