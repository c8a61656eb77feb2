/**
 * The light: does what it is told, and tells what it does when somebody asks.
 *
 * @module
 */

import type { Comm, Module } from "@patchbay/bus";
import { FrameType, LedState } from "../frames/frames.ts";

/** A light. */
export class Led implements Module {
  /** Whether it shines. */
  on = false;
  readonly #comm: Comm;
  readonly #show: (on: boolean) => void;

  /**
   * @param comm The way to the other modules.
   * @param show The hardware.
   */
  constructor(comm: Comm, show: (on: boolean) => void) {
    this.#comm = comm;
    this.#show = show;
  }

  /** Says which frames it wants; the last one counts, whenever the light is started. */
  async start(): Promise<this> {
    await this.#comm.listenFor([FrameType.LED_STATE], { retained: true });
    return this;
  }

  /** Takes what has come. */
  async process(): Promise<void> {
    while (this.#comm.hasData()) {
      const frame = this.#comm.getData();
      if (frame.request) {
        await this.#comm.send(new LedState({ on: this.on }));
        continue;
      }
      const wanted = frame.as(LedState)?.on ?? this.on;
      if (wanted === this.on) continue;
      this.on = wanted;
      this.#show(wanted);
    }
  }

  /** A light that nobody rules any more is dark. */
  stop(): void {
    if (this.on) this.#show(false);
  }
}
