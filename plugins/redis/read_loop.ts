/**
 * A loop that waits for entries of Streams on a connection of its own, over reconnections, until it
 * is stopped.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { type Client, type Connections, isReady } from "./connections.ts";
import { isLoss } from "./errors.ts";
import type { Read } from "./payload.ts";

/** What a loop reads, and who takes it. */
export interface Reading {
  /** What it is called in errors. */
  readonly what: string;
  /** The command, without its name; `undefined`: nothing is to be read, wait for {@link ReadLoop.wake}. */
  command(): readonly string[] | undefined;
  /** `XREAD` or `XREADGROUP`. */
  readonly verb: "xread" | "xreadgroup";
  /** Entries came. A promise holds the loop back. */
  take(read: Read): void | Promise<void>;
  /** The connection is there again, or for the first time: what was missed is fetched. */
  recover(client: Client): Promise<void>;
  /** A read was refused: a stream is not there any longer, say. */
  refused(error: unknown): Promise<void>;
  /** Reports what nobody awaits. */
  report(error: PatchbayError): void;
}

/** The pause after a failure, in milliseconds; doubled each time, with full jitter. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 2000;

/** Reads until it is stopped. */
export class ReadLoop {
  readonly #connections: Connections;
  readonly #reading: Reading;
  #client: Client | undefined;
  #stopped = false;
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(connections: Connections, reading: Reading) {
    this.#connections = connections;
    this.#reading = reading;
  }

  /** Whether it was stopped. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * Takes a connection and begins.
   *
   * @throws {PatchbayError} `overloaded`: there is no connection left.
   */
  async start(): Promise<void> {
    this.#client = await this.#connections.take();
    if (this.#stopped) return this.#connections.discard(this.#client);
    this.#running = this.#run(this.#client).catch((error) => {
      this.#reading.report(this.#connections.explain(error, this.#reading.what));
    });
  }

  /** It waits for nothing to read, or pauses: now there is something. */
  wake(): void {
    this.#wake?.();
  }

  /** Ends it, whatever it waits for. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    if (this.#client !== undefined) this.#connections.discard(this.#client);
    await this.#running;
  }

  async #run(client: Client): Promise<void> {
    const reading = this.#reading;
    const read = reading.verb === "xread"
      ? (args: readonly string[]) =>
        client.xreadBuffer(...args as Parameters<Client["xreadBuffer"]>)
      : (args: readonly string[]) =>
        client.xreadgroupBuffer(...args as unknown as Parameters<Client["xreadgroupBuffer"]>);
    let fresh = true;
    for (let failures = 0; !this.#stopped;) {
      try {
        if (!isReady(client)) {
          await this.#connections.whenReady(client);
          if (!isReady(client)) return;
        }
        if (fresh) await reading.recover(client);
        fresh = false;
        const command = reading.command();
        if (command === undefined) {
          await this.#rest(undefined);
          continue;
        }
        const answer = await read(command) as Read | null;
        failures = 0;
        if (answer === null || this.#stopped) continue;
        const taken = reading.take(answer);
        if (taken !== undefined) await taken;
      } catch (error) {
        if (this.#stopped) return;
        // A stream was taken away while it was being waited for: what is left is read on.
        if (/^UNBLOCKED/.test((error as Error).message)) continue;
        fresh = true;
        failures++;
        if (!isLoss(error)) {
          await reading.refused(error).catch(() => {});
          // The second time it is no accident.
          if (failures === 2) reading.report(this.#connections.explain(error, reading.what));
        }
        await this.#rest(
          Math.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures),
        );
      }
    }
  }

  async #rest(ms: number | undefined): Promise<void> {
    if (this.#stopped) return;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
