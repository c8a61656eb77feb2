/**
 * One wait of a reader for what its writers have written and it has not: asks them how far they are,
 * and looks whether all of that has come.
 *
 * @module
 */

import type { TimerWheel } from "@patchbay/core";
import { Alarm } from "./timers.ts";
import type { WriterProxy } from "./writer_proxy.ts";

/** A writer that has not answered is asked again after so long, and then ever more seldom. */
const ASK_AGAIN_MS = 20;

/** One wait. */
export class CatchUp {
  /** Those that are waited for, and how many heartbeats each had sent when it was asked. */
  readonly #left: Map<WriterProxy, number>;
  readonly #done: (complete: boolean) => void;
  readonly #alarm: Alarm;
  readonly #endMs: number;
  #againMs = ASK_AGAIN_MS;

  /**
   * Asks them.
   *
   * @param wheel What the time hangs in.
   * @param proxies Whom.
   * @param timeoutMs How long it waits, in milliseconds.
   * @param done Called once, with whether everything has come.
   */
  constructor(
    wheel: TimerWheel,
    proxies: readonly WriterProxy[],
    timeoutMs: number,
    done: (complete: boolean) => void,
  ) {
    this.#left = new Map(proxies.map((proxy) => [proxy, proxy.heartbeats]));
    this.#done = done;
    this.#endMs = performance.now() + timeoutMs;
    this.#alarm = new Alarm(wheel, () => this.#again());
    this.#ask();
  }

  #ask(): void {
    for (const [proxy, heartbeats] of this.#left) {
      // Who has answered sends what is missing: that is asked for by the proxy itself.
      if (proxy.heartbeats === heartbeats) proxy.inquire();
    }
    const leftMs = this.#endMs - performance.now();
    this.#alarm.arm(Math.max(0, Math.min(leftMs, this.#againMs)));
    this.#againMs *= 2;
  }

  #again(): void {
    if (performance.now() < this.#endMs) this.#ask();
    else this.end(false);
  }

  /** Something has come from a writer. */
  look(): void {
    for (const [proxy, heartbeats] of this.#left) {
      if (proxy.heartbeats > heartbeats && proxy.hasAll) this.#left.delete(proxy);
    }
    if (this.#left.size === 0) this.end(true);
  }

  /** A writer has gone: what it has not sent will not come. */
  gone(proxy: WriterProxy): void {
    if (this.#left.has(proxy)) this.end(false);
  }

  /** Waits no longer. */
  end(complete: boolean): void {
    this.#alarm.disarm();
    this.#done(complete);
  }
}
