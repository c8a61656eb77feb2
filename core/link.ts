/**
 * A link: a duplex channel of frames to one peer. Link plugins supply this, and how to listen and
 * dial; the session gives the three patterns over it.
 *
 * @module
 */

import type { PatchbayError } from "./errors.ts";
import type { SlotReader, SlotWriter } from "./latest_slot.ts";

/** What a link tells its session. */
export interface LinkHandler {
  /**
   * A frame came. The bytes are valid during the call only.
   *
   * @param buffer Where it lies.
   * @param start Its first byte.
   * @param end Behind its last byte.
   */
  frame(buffer: Uint8Array, start: number, end: number): void;
  /** All frames that came in one read have been handed over. */
  batchEnd(): void;
  /** The wire has accepted bytes: {@link Link.buffered} has become smaller. */
  drained(): void;
  /** The bytes that come cannot be frames: too long, cut off. The session refuses and closes. */
  malformed(error: PatchbayError): void;
  /** The link is closed; nothing more comes. Called once. */
  closed(error: PatchbayError | undefined): void;
  /** Nothing has come, and the link looks for more: what takes time can be done meanwhile. */
  idle?(): void;
  /** Whether an answer is waited for: looking for it a while costs less than being woken. */
  readonly expectsAnswer?: boolean;
}

/** Slots for newest values in memory that both sides of a link share. */
export interface LinkSlots {
  /** The longest frame that a slot holds, in bytes. */
  readonly capacity: number;
  /** Takes a slot of this side; `undefined` if all are taken. */
  take(): number | undefined;
  /** Gives a slot back. */
  give(index: number): void;
  /** Writes to a slot of this side. */
  writer(index: number): SlotWriter;
  /** Reads a slot of the other side; `undefined` if there is no such. */
  reader(index: number, seen: number): SlotReader | undefined;
}

/** A duplex channel of frames: ordered, lossless while it lives, bounded frames. */
export interface Link {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** Whether the death of the peer closes the link by itself; otherwise the session heartbeats. */
  readonly detectsClose: boolean;
  /**
   * The largest frame, in bytes; at least {@link import("./session/envelope.ts").MAX_FRAME_BYTES}.
   * Where it is more, messages go in larger pieces, up to a quarter of the peer's window.
   */
  readonly maxFrameBytes: number;
  /**
   * Whether the peer can still change the bytes of a frame that has come: the session then looks at
   * nothing twice.
   */
  readonly shared?: boolean;
  /**
   * Whether each message of the peer comes in one frame, however large it is: where the link makes
   * the frames out of something else.
   */
  readonly comesWhole?: boolean;
  /** Slots for newest values, where both sides share memory. */
  readonly slots?: LinkSlots;
  /** Who the peer has proved to be, where the wire can prove that. */
  readonly identity?: string;
  /** Where {@link claim} makes room. Read it anew after each claim. */
  readonly buffer: Uint8Array;
  /** The same bytes. */
  readonly view: DataView;
  /** Bytes committed but not yet accepted by the wire. */
  readonly buffered: number;
  /**
   * Begins to deliver. Called once, by the session.
   *
   * @param handler Whom to tell.
   */
  start(handler: LinkHandler): void;
  /**
   * Makes room for one frame in {@link buffer}. Until {@link commit}, everything from there to the
   * end of the buffer may be overwritten, unless the claim is exact.
   *
   * @param bytes How much room at least, at most {@link maxFrameBytes}.
   * @param exact Nothing behind these bytes is touched, and all of them are committed: where the
   * wire can, the room lies in its own memory.
   * @returns Where the frame begins.
   */
  claim(bytes: number, exact?: boolean): number;
  /**
   * Sends the claimed frame, soon: at the end of the current turn at the latest.
   *
   * @param bytes How much of the claim is used.
   */
  commit(bytes: number): void;
  /** Sends what was committed now instead of at the end of the turn: a long turn is ahead. */
  flush(): void;
  /**
   * Closes it: what was committed is still sent (for a second at most). Idempotent.
   *
   * @param abrupt Drop what was not sent.
   */
  close(abrupt?: boolean): Promise<void>;
}
