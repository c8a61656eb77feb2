/**
 * Writers and readers as their users see them.
 *
 * @module
 */

import type { EndpointData } from "./discovery_data.ts";
import type { Mismatch } from "./qos.ts";

/** Why a sample was not delivered. */
export type LossReason =
  /** It came twice, or after a later one of a best-effort writer. */
  | "duplicate"
  /** The writer no longer has it, or it got lost on a best-effort topic. */
  | "lost"
  /** It came before an earlier one, and there was no room to keep it; it is asked for again. */
  | "no_room"
  /** It is larger than `maxSampleBytes`. */
  | "too_large"
  /** Its fragments contradict each other. */
  | "malformed"
  /** It was older than its lifespan. */
  | "expired"
  /** The reader's own history had no room. */
  | "overflow";

/** What a writer tells. All of it is optional, and none of it may throw. */
export interface WriterEvents {
  /** A reader has been matched. */
  onMatched?(reader: EndpointData): void;
  /** A matched reader has gone. */
  onUnmatched?(reader: EndpointData): void;
  /** A reader of the topic requests what is not offered. */
  onMismatch?(reader: EndpointData, policies: readonly Mismatch[]): void;
  /** Samples were pushed out of the history before every reliable reader had them. */
  onOverwritten?(samples: number): void;
  /** Nothing was written to an instance for longer than the deadline that was offered. */
  onDeadlineMissed?(key: string): void;
  /** A payload is no longer kept: it may be changed, and used again. */
  onReleased?(payload: Uint8Array): void;
}

/** What goes with a sample. */
export interface WriteOptions {
  /** The instance: its key hash, 32 hexadecimal digits. Only for topics with a key. */
  readonly key?: string;
  /** Further parameters to send with it, by their ids. */
  readonly inline?: ReadonlyMap<number, Uint8Array>;
  /** The one reader that gets it, or the prefix of the one participant; others are left out. */
  readonly only?: string;
  /** When it was written, in milliseconds since 1970; default: now. */
  readonly timestampMs?: number;
}

/** Counters of a writer. */
export interface WriterStatistics {
  /** How many samples were written. */
  readonly written: number;
  /** How many were pushed out of the history before every reader that is reliable had them. */
  readonly overwritten: number;
  /** How many outlived their lifespan before they were sent. */
  readonly expired: number;
  /** How many samples are kept: for readers that are behind, and for those that come late. */
  readonly kept: number;
  /** How often a reader asked for more at once than it was sent again. */
  readonly putOff: number;
}

/** What has become of an instance. */
export type InstanceState = "alive" | "disposed" | "unregistered";

/** A sample as the user gets it. */
export interface Sample {
  /**
   * Four bytes that say how it is encoded, then the data. In a handler it is a view into the
   * datagram and good only until the handler returns; from `take()` it is the user's own.
   */
  readonly payload: Uint8Array;
  /** Whether there is data, or news about an instance only. */
  readonly state: InstanceState;
  /** The instance's key hash, 32 hexadecimal digits; empty without a key. */
  readonly key: string;
  /** Its number at its writer. */
  readonly sequence: number;
  /** Its writer. */
  readonly writer: EndpointData;
  /** When it was written, in milliseconds since 1970, if the writer said so. */
  readonly timestampMs: number | undefined;
  /**
   * Whether it was written before this reader came, and kept for it (durability `transient_local`).
   * A large one may be taken for fresh.
   */
  readonly historical: boolean;
  /** The parameters that came with it. */
  readonly inline: ReadonlyMap<number, Uint8Array> | undefined;
}

/** What a reader tells. All of it is optional. */
export interface ReaderEvents {
  /**
   * Takes each sample. Without it they are kept, as history and depth say, for `take()`.
   */
  onSample?(sample: Sample): void;
  /** Something can be taken. */
  onAvailable?(): void;
  /** A writer has been matched. */
  onMatched?(writer: EndpointData): void;
  /** A matched writer has gone. */
  onUnmatched?(writer: EndpointData): void;
  /** A writer of the topic does not offer what is requested. */
  onMismatch?(writer: EndpointData, policies: readonly Mismatch[]): void;
  /** Samples were not delivered. */
  onLost?(reason: LossReason, samples: number): void;
  /** Nothing has come for an instance for longer than the deadline requested. */
  onDeadlineMissed?(key: string): void;
  /** A writer is taken for dead, or for alive again. */
  onLiveliness?(writer: EndpointData, alive: boolean): void;
}

/** Counters of a reader: how many samples arrived, and why others did not. */
export interface ReaderStatistics {
  /** How many were handed over or kept. */
  readonly received: number;
  /** How many were not, by reason. */
  readonly losses: Readonly<Partial<Record<LossReason, number>>>;
  /** How many bytes wait for what is missing before them. */
  readonly heldBytes: number;
}

/** Writes samples of one topic. Made by `Participant.createWriter`. */
export interface Writer extends Disposable {
  /** What it says of itself. */
  readonly data: EndpointData;
  /** The topic. */
  readonly topic: string;
  /** The readers that are matched. */
  readonly matched: readonly EndpointData[];
  /** Counters. */
  readonly statistics: WriterStatistics;
  /** Whether every reliable reader has everything that was written. */
  readonly acknowledged: boolean;
  /**
   * Writes a sample. It is not copied: leave it as it is until {@link WriterEvents.onReleased}.
   *
   * Nothing is pushed out that a reliable reader still needs if {@link writable} is heeded.
   *
   * @param payload Four bytes that say how it is encoded, then the data.
   * @param options What goes with it.
   * @returns Its sequence number.
   * @throws {PatchbayError} `overloaded` if everything is to be kept and there is no room;
   * `closed`; `invalid` if a key is missing, or too much.
   */
  write(payload: Uint8Array, options?: WriteOptions): number;
  /**
   * Says that an instance no longer exists, or that this writer no longer writes it.
   *
   * @param key Its key hash, 32 hexadecimal digits.
   * @param kind Which of the two, or both.
   * @param keyPayload The key, encoded as a payload, for readers that want it.
   * @throws {PatchbayError} As `write`.
   */
  end(
    key: string,
    kind: "disposed" | "unregistered" | "both",
    keyPayload?: Uint8Array,
  ): number;
  /**
   * Resolves when a sample can be written without pushing out what a reader still needs; undefined
   * if it can now. Rejects with nothing: after `close()` it resolves, and `write` says so.
   *
   * @param bytes How long its payload will be.
   * @param key The instance it is for.
   */
  writable(bytes?: number, key?: string): Promise<void> | undefined;
  /**
   * Resolves when every reliable reader has everything that was written before: true; false after
   * `timeoutMs` or once the writer is closed.
   *
   * @param timeoutMs How long to wait, in milliseconds.
   * @param participant The prefix of the one participant whose readers count; default: all do.
   */
  untilAcknowledged(timeoutMs: number, participant?: string): Promise<boolean>;
  /**
   * Resolves when a reader of a participant is matched: true; false after `timeoutMs` or once the
   * writer is closed. What a participant has asked may be here before its readers are known.
   *
   * @param participant Its prefix, 24 hexadecimal digits.
   * @param timeoutMs How long to wait, in milliseconds.
   */
  untilMatchedBy(participant: string, timeoutMs: number): Promise<boolean>;
  /** Says that the writer lives, where that is done by hand. */
  assertLiveliness(): void;
  /** Ends it, and tells the readers. Idempotent. What is not yet delivered is given up. */
  close(): void;
}

/** Reads samples of one topic. Made by `Participant.createReader`. */
export interface Reader extends Disposable {
  /** What it says of itself. */
  readonly data: EndpointData;
  /** The topic. */
  readonly topic: string;
  /** The writers that are matched. */
  readonly matched: readonly EndpointData[];
  /** Counters. */
  readonly statistics: ReaderStatistics;
  /** Takes the oldest sample that was kept. */
  take(): Sample | undefined;
  /**
   * Asks reliable writers how far they are, and resolves when everything that they had sent has
   * come: true; false after `timeoutMs`, or once one of them or this reader has gone. Of a sample
   * that is still being sent, in parts, they do not speak.
   *
   * @param timeoutMs How long to wait, in milliseconds.
   * @param participant The prefix of the one participant whose writers count; default: all do.
   */
  untilComplete(timeoutMs: number, participant?: string): Promise<boolean>;
  /** Ends it, and tells the writers. Idempotent. What was kept can still be taken. */
  close(): void;
}
