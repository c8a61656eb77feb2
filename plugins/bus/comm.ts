/**
 * What a module talks to: frames in, frames out, whatever carries them.
 *
 * @module
 */

import type { FrameClass, FrameValue } from "./frames/frame.ts";
import type { ReceivedFrame } from "./received_frame.ts";

/**
 * The four lanes, highest first. A frame overtakes all that wait in lower lanes.
 *
 * They are priorities of the session, 0 to 255.
 */
export const Priority = {
  /** What must not wait: stop, collision, low battery. */
  HIGH: 224,
  /** What has no reason to be elsewhere. */
  NORMAL: 128,
  /** What may wait. */
  LOW: 64,
  /** Much data: maps, pictures, logs. */
  DATA_STREAM: 16,
} as const;

/** One of the four lanes. */
export type Priority = typeof Priority[keyof typeof Priority];

/** Listens for every frame of the definitions. */
export const ALL_FRAMES = "ALL";

/** How to listen. */
export interface ListenForOptions {
  /**
   * Also get the last frame that each module that is still connected has sent, of those types that it
   * did not listen for before. A request is no such frame.
   */
  readonly retained?: boolean;
}

/** How to ask. */
export interface AskOptions {
  /** The lane of the question. Default `NORMAL`. */
  readonly priority?: Priority;
  /** How long to wait for an answer, in milliseconds. Default 1000. */
  readonly timeoutMs?: number;
  /** Gives up. */
  readonly signal?: AbortSignal;
}

/** Exact counters of one comm. */
export interface CommStatistics {
  /** Frames that were sent. */
  readonly sent: number;
  /** Frames that came and were accepted. */
  readonly received: number;
  /**
   * Frames that were lost, by reason. `overflow`: the inbox was full. `undecodable`. `old_request`: a
   * last value that is a question. `gap`: they were sent and have not come; one that waits in a lower
   * lane counts until it comes.
   */
  readonly dropped: Readonly<Record<string, number>>;
  /** Frames that reached nobody: sent while there was no manager, or just before it stopped. */
  readonly unsent: number;
  /** How often the connection was made again. */
  readonly reconnections: number;
}

/**
 * A module's way to the other modules.
 *
 * @example
 * ```ts
 * import { MockComm } from "@patchbay/bus";
 * import { FrameSet } from "@patchbay/bus/frames";
 *
 * // In a module: comm is a BusComm. In its test: a MockComm.
 * await using comm = new MockComm({ frames: new FrameSet("", []) });
 * console.log(comm.hasData()); // false
 * ```
 */
export interface Comm extends AsyncDisposable, AsyncIterable<ReceivedFrame> {
  /**
   * Listens for frame types, besides those that it listens for already.
   *
   * Resolves when the modules that are connected now know: what they send later arrives.
   *
   * @param types Numbers of frame types, or `ALL`.
   * @param options Whether last values are wanted.
   * @throws `invalid`: there is no such type.
   */
  listenFor(
    types: readonly number[] | typeof ALL_FRAMES,
    options?: ListenForOptions,
  ): Promise<void>;

  /** Whether it listens for a type. */
  acceptsFrame(type: number): boolean;

  /** Whether a frame waits. */
  hasData(): boolean;

  /** How many frames wait. */
  readonly pending: number;

  /** Resolves with true when a frame waits, with false when the comm has been stopped. */
  arrival(): Promise<boolean>;

  /** How many frames have been taken so far: by {@link getData}, a callback or a loop. */
  readonly taken: number;

  /**
   * Takes the frame that has waited longest, of the highest lane.
   *
   * @throws `not_found`: none waits.
   */
  getData(): ReceivedFrame;

  /**
   * Calls back with each frame instead of letting it wait. A callback that throws is reported, and
   * called again with the next frame.
   *
   * @param callback What to call; `undefined` lets frames wait again.
   */
  onFrame(callback: ((frame: ReceivedFrame) => void | Promise<void>) | undefined): void;

  /**
   * Sends a frame to every module that listens for its type.
   *
   * Returns at once; with a promise only while the type is announced for the first time. It need not
   * be awaited: what fails then is counted as unsent, and reported.
   *
   * @param frame An object of a generated class.
   * @param priority The lane. Default `NORMAL`.
   * @throws `invalid` or `too_large`, naming the field; `closed`.
   */
  send(frame: FrameValue, priority?: Priority): void | Promise<void>;

  /**
   * Asks for a frame: modules that listen for the type get an empty frame whose `request` is true.
   *
   * @param type The number of the type, or its class.
   * @param priority The lane. Default `NORMAL`.
   * @throws `invalid`: there is no such type; `closed`.
   */
  request(type: number | FrameClass, priority?: Priority): void | Promise<void>;

  /**
   * Asks for a frame and waits for the first that comes.
   *
   * @param type The class of the frame.
   * @param options Lane, time.
   * @throws `deadline_exceeded`: none came; `closed`; the signal's reason.
   */
  ask<T extends FrameValue>(type: FrameClass<T>, options?: AskOptions): Promise<T>;

  /** Exact counters. */
  statistics(): CommStatistics;

  /** Takes the module off the bus. Idempotent. */
  stop(): Promise<void>;
}
