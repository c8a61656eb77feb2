/**
 * Two processes that update one structure in shared memory, under a mutex that survives the death
 * of its owner: this file starts itself twice more, once to help and once to be killed inside.
 *
 * ```sh
 * deno run -A examples/shared_struct.ts
 * ```
 *
 * (`-A` because it starts processes and uses FFI; Linux only.) It prints:
 *
 * ```text
 * two processes made 20000 deposits of 0.5: 10000 in 20000 entries
 * a third is killed between two writes
 * the owner died: repaired
 * the account is sound: 10000 in 20000 entries
 * ```
 *
 * @module
 */
import { Mutex, SharedMemory } from "@patchbay/ffi";

const DEPOSITS = 10_000;

/** The structure: first the mutex, then what it guards. The two numbers belong together. */
class Account {
  readonly mutex: Mutex;
  readonly #balance: Float64Array;
  readonly #entries: Int32Array;

  constructor(memory: SharedMemory) {
    this.mutex = new Mutex(memory, 0);
    this.#balance = new Float64Array(memory.buffer, Mutex.BYTES, 1);
    this.#entries = new Int32Array(memory.buffer, Mutex.BYTES + 8, 1);
  }

  /** Adds to both numbers; between them the structure is not sound. */
  async deposit(amount: number, between?: () => Promise<void>): Promise<void> {
    using guard = await this.mutex.lock();
    if (guard.ownerDied) this.#repair();
    this.#balance[0] += amount;
    await between?.();
    this.#entries[0]++;
  }

  async print(before: string): Promise<void> {
    using guard = await this.mutex.lock();
    if (guard.ownerDied) this.#repair();
    console.log(`${before}: ${this.#balance[0]} in ${this.#entries[0]} entries`);
  }

  #repair(): void {
    this.#balance[0] = this.#entries[0] * 0.5;
    console.log("the owner died: repaired");
  }
}

/** What the other processes do: deposit, or stop between the two writes for ever. */
async function helper(name: string, stop: boolean): Promise<void> {
  using memory = SharedMemory.open(name);
  const account = new Account(memory);
  using _ = account.mutex;
  if (stop) {
    await account.deposit(0.5, () => {
      console.log("inside");
      return new Promise(() => setInterval(() => {}, 1000));
    });
  }
  for (let i = 0; i < DEPOSITS; i++) await account.deposit(0.5);
}

/** Starts this file once more. */
function start(...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.url, ...args],
    stdout: "piped",
  }).spawn();
}

async function main(): Promise<void> {
  const name = `/example-${Deno.pid}`;
  using memory = SharedMemory.create(name, 4096);
  const account = new Account(memory);
  using _ = account.mutex;

  const helping = start(name, "help");
  for (let i = 0; i < DEPOSITS; i++) await account.deposit(0.5);
  await helping.output();
  await account.print(`two processes made ${2 * DEPOSITS} deposits of 0.5`);

  const unlucky = start(name, "stop");
  const reader = unlucky.stdout.getReader();
  await reader.read(); // it is inside
  memory.unlink(); // all have it that will: nothing is left behind, whoever dies
  console.log("a third is killed between two writes");
  unlucky.kill("SIGKILL");
  await reader.cancel();
  await unlucky.status;
  await account.print("the account is sound");
}

const [name, what] = Deno.args;
await (name === undefined ? main() : helper(name, what === "stop"));
