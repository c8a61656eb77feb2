/**
 * The button: tells when it is pressed or let go, and when somebody asks.
 *
 * @module
 */

import type { Comm, Module } from "@patchbay/bus";
import { ButtonState, FrameType } from "../frames/frames.ts";

/** Tells whether the button is pressed right now. */
export type ReadButton = () => boolean;

/** A button. */
export class Button implements Module {
  readonly #comm: Comm;
  readonly #read: ReadButton;
  #pressed: boolean | undefined;

  /**
   * @param comm The way to the other modules.
   * @param read The hardware.
   */
  constructor(comm: Comm, read: ReadButton) {
    this.#comm = comm;
    this.#read = read;
  }

  /** Says which frames it wants: questions for the button's state. */
  async start(): Promise<this> {
    await this.#comm.listenFor([FrameType.BUTTON_STATE]);
    return this;
  }

  /** Looks at the button, and sends its state if that has changed or was asked for. */
  async process(): Promise<void> {
    let tell = false;
    while (this.#comm.hasData()) tell = this.#comm.getData().request || tell;
    const pressed = this.#read();
    if (pressed !== this.#pressed) tell = true;
    this.#pressed = pressed;
    if (tell) await this.#comm.send(new ButtonState({ pressed }));
  }

  /** Nothing to free. */
  stop(): void {}
}
