/** Child processes of the tests of `ffi/`, names for kernel objects, and what is left of them. */
import { PatchbayError } from "@patchbay/core/errors";
import assert from "node:assert/strict";

const PREFIX = `pbt-${Deno.pid}-`;
let names = 0;

/** A name that nobody else uses. */
export function freshName(): string {
  return `/${PREFIX}${names++}`;
}

/** Asserts that no segment or semaphore of these tests exists any more. */
export function assertNothingLeft(): void {
  if (Deno.build.os !== "linux") return; // macOS does not list them
  const left = [...Deno.readDirSync("/dev/shm")].map((entry) => entry.name)
    .filter((name) => name.includes(PREFIX));
  assert.deepEqual(left, []);
}

/** The code of the error that it throws. */
export function code(use: () => unknown): string {
  try {
    use();
  } catch (error) {
    assert.ok(error instanceof PatchbayError, String(error));
    return error.code;
  }
  return "none";
}

/** A process that runs a program of `testdata/` and says things line by line. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #watchdog: ReturnType<typeof setTimeout>;
  #text = "";
  #ended = false;

  constructor(program: URL, args: string[], permissions = ["-A"]) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-check", ...permissions, program.href, ...args],
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#reader = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#watchdog = setTimeout(() => this.kill(), 60_000);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The next line that it says; `(end)` after the last. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) return "(end)";
      this.#text += value;
    }
  }

  /** SIGKILL, unless it has ended by itself. */
  kill(): void {
    if (this.#ended) return;
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended
    }
  }

  /** Waits for its end, and returns its exit code. */
  async end(): Promise<number> {
    while (await this.line() !== "(end)");
    const { code } = await this.#process.status;
    this.#ended = true;
    clearTimeout(this.#watchdog);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.kill();
    await this.end();
  }
}
