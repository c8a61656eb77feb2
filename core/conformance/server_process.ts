/**
 * For tests: a server that others have written, as a process of its own that ends with this one.
 *
 * @module
 */

/** How often it is asked whether it answers, and how long is waited in between, in milliseconds. */
const ATTEMPTS = 500;
const PAUSE_MS = 10;

/** A server that can be killed and started again. */
export class ServerProcess implements AsyncDisposable {
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #answers: () => Promise<boolean>;
  #child: Deno.ChildProcess | undefined;
  /** Ends the server when this process is killed: its input ends then. */
  #guard: Deno.ChildProcess | undefined;

  /**
   * A server that does not run yet.
   *
   * @param program What to run.
   * @param args Its arguments.
   * @param answers Whether it answers already.
   */
  constructor(program: string, args: readonly string[], answers: () => Promise<boolean>) {
    this.#program = program;
    this.#args = args;
    this.#answers = answers;
  }

  /** Starts it, and waits until it answers; 5 s at most. */
  async start(): Promise<void> {
    this.#child = new Deno.Command(this.#program, {
      args: [...this.#args],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const { status, pid } = this.#child;
    this.#guard = new Deno.Command("sh", {
      args: ["-c", `cat >/dev/null; kill -9 ${pid}`],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    let dead: Deno.CommandStatus | undefined;
    status.then((known) => dead = known);
    for (let left = ATTEMPTS; left > 0; left--) {
      if (dead !== undefined) throw new Error(`${this.#program} ended with code ${dead.code}`);
      if (await this.#answers()) return;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    throw new Error(`${this.#program} did not answer within ${ATTEMPTS * PAUSE_MS} ms`);
  }

  /** Stops its process without ending it, as a machine that hangs; or lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    const [child, guard] = [this.#child, this.#guard];
    this.#child = this.#guard = undefined;
    // The guard first: the server's number may soon be another one's.
    guard?.kill("SIGKILL");
    await guard?.stdin.close().catch(() => {});
    await guard?.status;
    try {
      child?.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await child?.status;
  }

  /** As {@link kill}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/**
 * Whether somebody listens at a port of this host.
 *
 * @param port The port.
 */
export async function listens(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
