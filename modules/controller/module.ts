/**
 * The controller: as long as the button is pressed, the light is on.
 *
 * @module
 */

import { type Comm, type Module, Priority } from "@patchbay/bus";
import { ButtonState, FrameType, LedState } from "../frames/frames.ts";

/** Knows what follows from what. */
export class Controller implements Module {
  readonly #comm: Comm;

  /** @param comm The way to the other modules. */
  constructor(comm: Comm) {
    this.#comm = comm;
  }

  /** Says which frames it wants, and asks how things are now. */
  async start(): Promise<this> {
    await this.#comm.listenFor([FrameType.BUTTON_STATE]);
    await this.#comm.request(ButtonState);
    return this;
  }

  /** Passes each press on. */
  async process(): Promise<void> {
    while (this.#comm.hasData()) {
      const state = this.#comm.getData().as(ButtonState);
      if (state !== undefined) {
        await this.#comm.send(new LedState({ on: state.pressed }), Priority.HIGH);
      }
    }
  }

  /** Nobody presses any longer. */
  async stop(): Promise<void> {
    await this.#comm.send(new LedState({ on: false }), Priority.HIGH);
  }
}
