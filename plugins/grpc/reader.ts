/**
 * Streams from a server, the reading side: opens one, opens it again when it is lost, with a pause
 * that grows, and says how it stands.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type {
  ClientDuplexStream,
  Metadata,
  ServiceError,
  StatusObject,
} from "npm:@grpc/grpc-js@1.14.7";
import { PatchbayError } from "@patchbay/core";
import type { Channel } from "./channels.ts";
import { errorOf } from "./statuses.ts";

/** How a stream is read. */
export interface ReaderOptions {
  /** Where it comes from. Asked for at each attempt: a channel that has failed is replaced. */
  channel(): Channel;
  /** The same, for messages. */
  readonly where: string;
  /** The method. */
  readonly path: string;
  /** The metadata of every attempt. */
  metadata(): Metadata;
  /** The first pause before a reconnection. */
  readonly reconnectMinMs: number;
  /** The longest pause. */
  readonly reconnectMaxMs: number;
  /** What is said first, at each attempt. */
  first(): Buffer;
  /** The server has heard it. */
  onOpen(): void;
  /** A message came. What it throws ends the stream, and is why. */
  onMessage(bytes: Buffer): void;
  /**
   * The stream ended, or could not be opened.
   *
   * @returns Whether to try again.
   */
  onLost(error: PatchbayError | undefined): boolean;
}

/** Reads one stream until it is stopped. */
export class Reader {
  readonly #options: ReaderOptions;
  #stream: ClientDuplexStream<Buffer, Buffer> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  /** How many streams in turn have ended because nothing could be made of what came. */
  #unreadable = 0;
  #stopped = false;

  /** @param options How it is read. */
  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#open();
  }

  /** Says something more, if there is a stream now. */
  send(bytes: Buffer): void {
    if (!this.#stopped) this.#stream?.write(bytes);
  }

  /** Reads no more. Idempotent. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  /** Reads no more, and lets what was said before arrive: the server ends the stream. */
  finish(last: Buffer): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#stream?.end(last);
  }

  #open(): void {
    const { path } = this.#options;
    const stream = this.#options.channel().stream(path, this.#options.metadata());
    this.#stream = stream;
    let opened = false;
    stream.on("metadata", () => {
      if (this.#stopped || opened) return;
      opened = true;
      this.#failures = 0;
      this.#options.onOpen();
    });
    stream.on("data", (bytes: Buffer) => this.#received(stream, bytes));
    // The status says the same, and comes always.
    stream.on("error", (_: ServiceError) => {});
    stream.on("status", (status: StatusObject) => this.#ended(stream, status));
    stream.write(this.#options.first());
  }

  #received(stream: ClientDuplexStream<Buffer, Buffer>, bytes: Buffer): void {
    if (this.#stopped || this.#stream !== stream) return;
    try {
      this.#options.onMessage(bytes);
      this.#unreadable = 0;
    } catch (error) {
      // Thrown on, it would end the program: whoever calls is grpc-js.
      this.#unreadable++;
      stream.cancel();
      this.#lost(PatchbayError.fromThrown(error));
    }
  }

  #ended(stream: ClientDuplexStream<Buffer, Buffer>, status: StatusObject): void {
    if (this.#stopped || this.#stream !== stream) return;
    const { where, path } = this.#options;
    this.#lost(status.code === 0 ? undefined : errorOf(status, { where, what: path }));
  }

  #lost(error: PatchbayError | undefined): void {
    this.#stream = undefined;
    const { reconnectMaxMs, reconnectMinMs } = this.#options;
    if (!this.#options.onLost(error) || this.#stopped) return;
    const failures = this.#failures++ + this.#unreadable;
    const ceiling = Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(failures, 20));
    this.#timer = setTimeout(() => this.#open(), Math.random() * ceiling);
  }
}
