/**
 * A peer that is stopped (SIGSTOP) and goes on later: the overflow policy of its listener holds,
 * nobody else is disturbed, and nothing is wrong afterwards.
 *
 * @module
 */

import assert from "node:assert/strict";
import { open, type Overflow } from "@patchbay/core";
import { libcAvailability } from "@patchbay/ffi";
import { HostDirectory, openRuntimeDir } from "@patchbay/host";
import { requireOrIgnore } from "../../tests/require.ts";
import sharedMemory from "./mod.ts";
import type { Heard, ListeningOptions } from "./testdata/listening.ts";
import { numbered } from "./testdata/numbered.ts";
import { until, WATCHDOG_MS } from "./testdata/processes.ts";

const LISTENING = new URL("./testdata/listening.ts", import.meta.url).pathname;
const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");
const SENDER = 7;

function test(title: string, fn: () => Promise<void>): void {
  Deno.test({ name: here.name(`shared_memory: ${title}`), ignore: here.ignore, fn });
}

/** A listener in a process of its own. */
class Listening implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #watchdog: ReturnType<typeof setTimeout>;
  #text = "";

  constructor(options: ListeningOptions) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--no-lock", LISTENING, JSON.stringify(options)],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#output = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#watchdog = setTimeout(() => this.#process.kill("SIGKILL"), 2 * WATCHDOG_MS);
  }

  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  async line(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#output.read();
      assert.equal(done, false, "a listener has ended");
      this.#text += value;
    }
    const [line] = this.#text.split("\n");
    this.#text = this.#text.slice(line.length + 1);
    return line;
  }

  async heard(): Promise<Heard> {
    await this.#input.write(new TextEncoder().encode("?"));
    return JSON.parse(await this.line());
  }

  /** Waits until it has heard a message. */
  async until(number: number): Promise<Heard> {
    let heard = await this.heard();
    await until(`${number} was heard`, async () => (heard = await this.heard()).last >= number);
    return heard;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#watchdog);
    this.#process.kill("SIGCONT");
    this.#process.kill("SIGKILL");
    await this.#process.status;
    await this.#input.close().catch(() => {});
    await this.#output.cancel();
  }
}

/** A runtime directory with a bay that shouts, and listeners in processes of their own. */
async function place() {
  await using stack = new AsyncDisposableStack();
  const parent = await Deno.makeTempDir({ prefix: "pb-" });
  stack.defer(() => Deno.remove(parent, { recursive: true }));
  const folder = openRuntimeDir({ path: `${parent}/run` });
  const near = stack.use(
    await open({
      module: "near",
      plugins: [sharedMemory],
      directory: (identity) => HostDirectory.open(identity, { path: folder }),
    }),
  );
  const children = new AsyncDisposableStack();
  const moved = stack.move();
  return {
    near,
    async listening(module: string, to: string, overflow: Overflow, maxQueue: number) {
      const child = children.use(new Listening({ folder, module, to, overflow, maxQueue }));
      assert.equal(await child.line(), "ready");
      return child;
    },
    drops(address: string): Record<string, number> {
      return near.statistics.snapshot(Date.now()).endpoints
        .find((each) => each.role === "speaker" && each.address === address)?.drops ?? {};
    },
    async [Symbol.asyncDispose]() {
      await children.disposeAsync();
      await moved.disposeAsync();
    },
  };
}

for (const overflow of ["drop_oldest", "drop_newest"] as const) {
  test(`a stopped listener with ${overflow} costs itself messages, each counted, and nobody else any`, async () => {
    const COUNT = 6000;
    await using there = await place();
    const { near } = there;
    const speaker = await near.speaker<unknown, unknown>("near/tick");
    const stopped = await there.listening("stopped", "near/tick", overflow, 100);
    const other = await there.listening("other", "near/tick", "block", 1000);
    for (let number = 0; number < COUNT; number++) {
      if (number === COUNT / 6) {
        await stopped.until(0);
        stopped.signal("SIGSTOP");
      }
      await speaker.shout(numbered(SENDER, number));
    }
    const atOther = await other.until(COUNT - 1);
    assert.deepEqual(
      [atOther.count, atOther.dropped, atOther.violations],
      [COUNT, 0, []],
      "the other listener is undisturbed",
    );
    const reason = overflow === "drop_oldest" ? "overflow_oldest" : "overflow_newest";
    const { [reason]: dropped = 0, ...others } = there.drops("near/tick");
    assert.deepEqual(others, {});
    assert.ok(dropped > 0, "a stopped listener loses nothing?");
    stopped.signal("SIGCONT");
    // It goes on: what was shouted from now on arrives.
    for (let number = COUNT; number < COUNT + 10; number++) {
      await until(
        "there is room for one more",
        async () => {
          const { count, dropped: ownDrops } = await stopped.heard();
          return count + ownDrops + (there.drops("near/tick")[reason] ?? 0) === number;
        },
      );
      await speaker.shout(numbered(SENDER, number));
    }
    const heard = await stopped.until(COUNT + 9);
    assert.deepEqual(heard.violations, []);
    // Not one message is unaccounted for.
    const lost = there.drops("near/tick")[reason] + heard.dropped;
    assert.equal(heard.count + lost, COUNT + 10);
  });
}

test("a stopped listener with block holds its speaker back until it goes on, and nothing is lost", async () => {
  const QUEUE = 50;
  await using there = await place();
  const { near } = there;
  const speaker = await near.speaker<unknown, unknown>("near/tick");
  const elsewhere = await near.speaker<unknown, unknown>("near/elsewhere");
  await near.serve("near/echo", (value) => value);
  const stopped = await there.listening("stopped", "near/tick", "block", QUEUE);
  const other = await there.listening("other", "near/elsewhere", "block", 1000);
  let number = 0;
  for (; number < 100; number++) await speaker.shout(numbered(SENDER, number));
  await stopped.until(99);
  stopped.signal("SIGSTOP");
  // A deadline of one's own: shouting waits until the listener has room.
  let held: Promise<void> | void = undefined;
  for (; held === undefined; number++) held = speaker.shout(numbered(SENDER, number));
  let taken = false;
  held.then(() => taken = true);
  const late = AbortSignal.timeout(300);
  await Promise.race([
    held,
    new Promise((resolve) => late.addEventListener("abort", resolve)),
  ]);
  assert.equal(taken, false, "a stopped listener takes nothing");
  // Whoever does not wait is told so, and queues no more than the bound.
  let refused: unknown;
  const waiting: (Promise<void> | void)[] = [];
  while (refused === undefined) {
    try {
      waiting.push(speaker.shout(numbered(SENDER, number)));
      number++;
    } catch (error) {
      refused = error;
    }
    assert.ok(waiting.length <= 2 * QUEUE, "the queue has no bound");
  }
  assert.equal((refused as { code: string }).code, "overloaded");
  // Nobody else is disturbed meanwhile.
  for (let n = 0; n < 500; n++) await elsewhere.shout(numbered(SENDER, n));
  const atOther = await other.until(499);
  assert.deepEqual([atOther.count, atOther.violations], [500, []]);
  assert.equal(await near.call("other/echo", 5), 5);
  stopped.signal("SIGCONT");
  await held;
  await Promise.all(waiting);
  for (const end = number + 100; number < end; number++) {
    await speaker.shout(numbered(SENDER, number));
  }
  const heard = await stopped.until(number - 1);
  assert.deepEqual([heard.count, heard.dropped, heard.violations], [number, 0, []]);
  assert.deepEqual(there.drops("near/tick"), {});
});

test("a call to a stopped peer ends with its deadline, and its late answer is nobody else's", async () => {
  await using there = await place();
  const { near } = there;
  const stopped = await there.listening("stopped", "near/tick", "block", 10);
  assert.equal(await near.call("stopped/echo", "before"), "before");
  stopped.signal("SIGSTOP");
  await assert.rejects(near.call("stopped/echo", "late", { timeoutMs: 100 }), {
    code: "deadline_exceeded",
  });
  stopped.signal("SIGCONT");
  for (let n = 0; n < 50; n++) {
    assert.equal(await near.call("stopped/echo", n, { timeoutMs: 60_000 }), n);
  }
});
