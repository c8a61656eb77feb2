/**
 * A duplex channel of texts to one peer: what a wire supplies that speaks `patchbay.json.v1`.
 *
 * @module
 */

import type { PatchbayError } from "../errors.ts";

/** The name under which the JSON form is known: a WebSocket's sub-protocol. */
export const JSON_PROTOCOL = "patchbay.json.v1";

/** What a channel tells. */
export interface TextHandler {
  /** One message came. */
  text(text: string): void;
  /** {@link TextChannel.buffered} has become smaller. */
  drained(): void;
  /** What came is no text, or too much: the peer is refused. */
  malformed(error: PatchbayError): void;
  /** The channel is closed; nothing more comes. Called once. */
  closed(error: PatchbayError | undefined): void;
}

/** A duplex channel of texts: ordered, and lossless while it lives. */
export interface TextChannel {
  /** Whether the peer is on this host. */
  readonly local: boolean;
  /** Whether the death of the peer closes it by itself; otherwise heartbeats are sent and asked. */
  readonly detectsClose: boolean;
  /** Who the peer has proved to be, where the wire can prove that. */
  readonly identity?: string;
  /** Bytes sent but not yet accepted by the wire. */
  readonly buffered: number;
  /**
   * Begins to deliver. Called once.
   *
   * @param handler Whom to tell.
   */
  start(handler: TextHandler): void;
  /** The client has been let in: a wire that has held back what it sends does so no longer. */
  admitted?(): void;
  /**
   * Sends one message.
   *
   * @param text The message.
   */
  send(text: string): void;
  /**
   * Closes it: what was sent still leaves (for a second at most). Idempotent.
   *
   * @param abrupt Drop what has not left.
   * @param why What the peer was told in its goodbye.
   */
  close(abrupt?: boolean, why?: PatchbayError): Promise<void>;
}
