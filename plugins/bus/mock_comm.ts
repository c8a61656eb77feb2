/**
 * A comm without a bus, for tests of modules: the test plays the other modules.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import {
  ALL_FRAMES,
  type AskOptions,
  type Comm,
  type CommStatistics,
  type ListenForOptions,
  Priority,
} from "./comm.ts";
import { FrameInbox, type InboxOverflow } from "./frame_inbox.ts";
import type { FrameClass, FrameSet, FrameValue } from "./frames/frame.ts";
import { ReceivedFrame } from "./received_frame.ts";

/** How to make a mock. */
export interface MockCommOptions {
  /** The definitions. */
  readonly frames: FrameSet;
  /** How many frames may wait. Default 256. */
  readonly maxQueue?: number;
  /** What happens to one more. Default `drop_oldest`. */
  readonly overflow?: InboxOverflow;
}

/** A frame that the module under test has sent, or asked for. */
export interface SentFrame {
  /** The number of its type. */
  readonly type: number;
  /** The frame; `undefined`: it was asked for. */
  readonly value: FrameValue | undefined;
  /** The lane. */
  readonly priority: Priority;
}

/**
 * A comm without a bus.
 *
 * What the module sends is encoded and decoded as on the wire, and stands in {@link sent};
 * {@link receive} plays what another module sends.
 */
export class MockComm implements Comm {
  /** What was sent, in order. */
  readonly sent: SentFrame[] = [];
  readonly #frames: FrameSet;
  readonly #inbox: FrameInbox;
  readonly #types = new Set<number>();
  readonly #last = new Map<number, FrameValue>();
  #stopped = false;

  /**
   * Makes a mock.
   *
   * @param options The definitions, and the bound of the queue.
   */
  constructor({ frames, maxQueue = 256, overflow = "drop_oldest" }: MockCommOptions) {
    this.#frames = frames;
    // What a callback throws is the test's to see.
    this.#inbox = new FrameInbox(maxQueue, overflow, (error) => {
      throw error.cause ?? error;
    });
  }

  /**
   * Plays another module: a frame that the module under test gets if it listens for it.
   *
   * @param frame The frame; a class plays a request for it.
   * @param options The lane, and who sends.
   */
  receive(
    frame: FrameValue | FrameClass,
    { priority = Priority.NORMAL, module = "test" }: { priority?: Priority; module?: string } = {},
  ): void {
    const request = typeof frame === "function";
    const found = this.#frames.classOf(
      request ? (frame as FrameClass).type : (frame.constructor as unknown as FrameClass).type,
    );
    const value = request
      ? undefined
      : this.#frames.decode(found.type, this.#frames.encode(frame as FrameValue));
    if (value !== undefined) this.#last.set(found.type, value);
    const origin = { module, priority, retained: false };
    this.#inbox.push(new ReceivedFrame(found, value, origin), this.acceptsFrame(found.type));
  }

  /** As {@link Comm.listenFor}. */
  listenFor(
    types: readonly number[] | typeof ALL_FRAMES,
    { retained = false }: ListenForOptions = {},
  ): Promise<void> {
    const wanted = types === ALL_FRAMES
      ? [...this.#frames.byName.values()].map(({ type }) => type)
      : types.map((type) => knownType(this.#frames, type).type);
    for (const type of wanted) {
      const last = this.#last.get(type);
      if (retained && last !== undefined && !this.#types.has(type)) {
        const origin = { module: "test", priority: Priority.NORMAL, retained: true };
        this.#inbox.push(new ReceivedFrame(this.#frames.classOf(type), last, origin), true);
      }
      this.#types.add(type);
    }
    return Promise.resolve();
  }

  /** As {@link Comm.acceptsFrame}. */
  acceptsFrame(type: number): boolean {
    return this.#types.has(type);
  }

  /** As {@link Comm.hasData}. */
  hasData(): boolean {
    return this.#inbox.length > 0;
  }

  /** As {@link Comm.pending}. */
  get pending(): number {
    return this.#inbox.length;
  }

  /** As {@link Comm.taken}. */
  get taken(): number {
    return this.#inbox.taken;
  }

  /** As {@link Comm.arrival}. */
  arrival(): Promise<boolean> {
    return this.#inbox.arrival();
  }

  /** As {@link Comm.getData}. */
  getData(): ReceivedFrame {
    return this.#inbox.takeOrThrow();
  }

  /** As {@link Comm.onFrame}. */
  onFrame(callback: ((frame: ReceivedFrame) => void | Promise<void>) | undefined): void {
    this.#inbox.onFrame(callback);
  }

  /** As {@link Comm.send}. */
  send(frame: FrameValue, priority: Priority = Priority.NORMAL): void {
    this.#open();
    const { type } = frame.constructor as unknown as FrameClass;
    const value = this.#frames.decode(type, this.#frames.encode(frame));
    this.sent.push({ type, value, priority });
  }

  /** As {@link Comm.request}. */
  request(type: number | FrameClass, priority: Priority = Priority.NORMAL): void {
    this.#open();
    const number = typeof type === "number" ? type : type.type;
    this.sent.push({ type: knownType(this.#frames, number).type, value: undefined, priority });
  }

  /** As {@link Comm.ask}. */
  ask<T extends FrameValue>(type: FrameClass<T>, options: AskOptions = {}): Promise<T> {
    const answer = this.#inbox.answer(type, options);
    this.request(type, options.priority);
    return answer;
  }

  /** As {@link Comm.statistics}. */
  statistics(): CommStatistics {
    const { received, dropped } = this.#inbox;
    return { sent: this.sent.length, received, dropped, unsent: 0, reconnections: 0 };
  }

  /** As {@link Comm.stop}. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#inbox.close();
    return Promise.resolve();
  }

  /** As {@link stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Frames as they come, until the comm stops. */
  [Symbol.asyncIterator](): AsyncIterator<ReceivedFrame> {
    return this.#inbox.frames();
  }

  #open(): void {
    if (this.#stopped) throw stopped();
  }
}

/** The class of a number, or `invalid`. */
export function knownType(frames: FrameSet, type: number): FrameClass {
  const found = frames.byNumber[type];
  if (found !== undefined) return found;
  throw new PatchbayError("invalid", `${type} is no frame type of these definitions`, {
    remedy: "use a member of FrameType, or generate the definitions anew",
  });
}

/** What a comm throws that has been stopped. */
export function stopped(): PatchbayError {
  return new PatchbayError("closed", "the comm has been stopped", { retryable: false });
}
