/**
 * A module to begin with: copy this folder, and change what it listens for and sends.
 *
 * @module
 */

import type { Comm, Module } from "@patchbay/bus";
import { FrameType, Text } from "../frames/frames.ts";

/** Answers every text with its length. */
export class Template implements Module {
  readonly #comm: Comm;

  /** @param comm The way to the other modules. */
  constructor(comm: Comm) {
    this.#comm = comm;
  }

  /** Says which frames it wants. */
  async start(): Promise<this> {
    await this.#comm.listenFor([FrameType.TEXT]);
    return this;
  }

  /** Called again and again: looks at what has come, does something about it, returns soon. */
  async process(): Promise<void> {
    while (this.#comm.hasData()) {
      const text = this.#comm.getData().as(Text)?.text;
      if (text === undefined || text.startsWith("I have read")) continue;
      await this.#comm.send(new Text({ text: `I have read ${text.length} characters` }));
    }
  }

  /** Frees what the module holds: files, devices. */
  stop(): void {}
}
