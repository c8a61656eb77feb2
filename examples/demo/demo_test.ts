/** @module */
import assert from "node:assert/strict";

/** The demo as a child process, in a temporary folder of its own. */
class Demo implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "pb-" });
  readonly #process: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #errors: Promise<string>;
  readonly #watchdog: ReturnType<typeof setTimeout>;
  printed = "";

  constructor() {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", new URL("main.ts", import.meta.url).href],
      env: { TMPDIR: this.folder, XDG_RUNTIME_DIR: this.folder, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reader = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#errors = new Response(this.#process.stderr).text();
    this.#watchdog = setTimeout(() => this.#process.kill("SIGKILL"), 120_000);
  }

  /** Reads until a text was printed, or the end. */
  async read(until?: string): Promise<void> {
    while (until === undefined || !this.printed.includes(until)) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.printed += value;
    }
  }

  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  async end(): Promise<{ code: number; errors: string }> {
    await this.read();
    const { code } = await this.#process.status;
    return { code, errors: await this.#errors };
  }

  /** Processes that were told of the folder: all of the demo's are. */
  processes(): string[] {
    if (Deno.build.os !== "linux") return [];
    return [...Deno.readDirSync("/proc")].filter(({ name }) => /^\d+$/.test(name)).map(
      ({ name }) => {
        try {
          return Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ");
        } catch {
          return ""; // It has ended meanwhile.
        }
      },
    ).filter((command) => command.includes(this.folder));
  }

  /** What it has left in its folder. */
  files(): string[] {
    return [...Deno.readDirSync(this.folder)].map((entry) => entry.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#watchdog);
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.end();
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("demo: loses two processes, recovers, and ends with 0, leaving nothing", async () => {
  await using demo = new Demo();
  await demo.read("picks up a bolt");
  // Conductor's runtime directory, and three processes that were told of it.
  assert.equal(demo.files().length, 1);
  if (Deno.build.os === "linux") assert.equal(demo.processes().length, 3);
  const { code, errors } = await demo.end();
  assert.equal(errors, "");
  assert.equal(code, 0, demo.printed);
  const summary = demo.printed.slice(demo.printed.indexOf("\nSummary"));
  for (
    const claim of [
      /✓ [\d ]+ poses heard, 0 missing while the sensor lived/,
      /✓ \d+ calls, \d+ answered; while the arm was dead: /,
      /✓ round trips: p50 [\d.]+ m?s, p99 [\d.]+ m?s/,
      /✓ arm killed: noticed in [\d.]+ m?s, back by itself in [\d.]+ m?s/,
      /✓ sensor killed: noticed in [\d.]+ m?s, back by itself in [\d.]+ m?s/,
      /✓ jobs: 1 done, 1 lost with the arm, 1 cancelled/,
      /✓ 0 messages dropped/,
      /✓ 5 processes started, 0 left; the runtime directory is removed/,
    ]
  ) assert.match(summary, claim);
  assert.doesNotMatch(summary, /✗/);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(demo.printed, /\x1b/);
  assert.deepEqual(demo.files(), []);
  assert.deepEqual(demo.processes(), []);
});

Deno.test("demo: interrupted in the middle of a job, it leaves nothing", async () => {
  await using demo = new Demo();
  await demo.read("picks up a bolt");
  // Twice, as `deno task` in a terminal does.
  demo.signal("SIGINT");
  demo.signal("SIGINT");
  const { code } = await demo.end();
  assert.equal(code, 130);
  assert.deepEqual(demo.files(), []);
  assert.deepEqual(demo.processes(), []);
});
