/**
 * What a bay tells bays of other hosts about itself: `patchbay.v1.Patchbay/WatchPresence`.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { Metadata } from "npm:@grpc/grpc-js@1.14.7";
import { PatchbayError } from "@patchbay/core";
import type { Desk } from "./inbound.ts";
import { messages, PATH, type Presence as Present } from "./messages.ts";
import { type ByteStream, Outflow } from "./outflow.ts";

/** Tells whoever asks. */
export class Presence {
  readonly #desk: Desk;
  readonly #tell: () => Present;
  readonly #watchers = new Set<Outflow>();
  #telling = false;

  /**
   * @param desk What answers share.
   * @param tell What is there now.
   */
  constructor(desk: Desk, tell: () => Present) {
    this.#desk = desk;
    this.#tell = tell;
    desk.server.stream(`${PATH}WatchPresence`, (stream) => this.#asked(stream));
  }

  /** Something has come or gone. What changes in one turn is told at once. */
  changed(): void {
    if (this.#telling || this.#watchers.size === 0) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      const bytes = this.#bytes();
      for (const watcher of this.#watchers) watcher.push(bytes, FORGETFUL);
    });
  }

  /** Ends every stream. */
  close(): void {
    const error = new PatchbayError("closed", "the bay is closing");
    for (const watcher of this.#watchers) watcher.fail(error);
  }

  #asked(stream: ByteStream): void {
    // Only the last word counts.
    const watcher = new Outflow(stream, {
      maxQueue: 1,
      unread: this.#desk.server.unreadOf(stream),
      overflow: "drop_oldest",
    });
    const gone = () => {
      this.#watchers.delete(watcher);
      watcher.drop();
    };
    stream.on("cancelled", gone);
    stream.on("close", gone);
    stream.on("data", () => watcher.push(this.#bytes(), FORGETFUL));
    stream.sendMetadata(new Metadata());
    this.#watchers.add(watcher);
  }

  #bytes(): Buffer {
    return messages().presence.encode(this.#tell());
  }
}

/** What a later word makes old is no loss. */
const FORGETFUL = { countDrop() {} };
