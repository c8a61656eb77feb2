/**
 * A channel of texts over a WebSocket, for clients that speak `patchbay.json.v1`.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { JsonLink, type JsonLinkOptions } from "@patchbay/core/json-protocol";
import type { TextChannel, TextHandler } from "@patchbay/core/json-protocol";
import { type AnySocket, type SocketFacts, SocketFlow } from "./socket_flow.ts";

/** A WebSocket whose messages are texts. */
class WebSocketTexts implements TextChannel {
  readonly local: boolean;
  /** The server pings by itself, and a client answers by itself. */
  readonly detectsClose = true;
  readonly identity: string | undefined;
  readonly #flow: SocketFlow;
  #handler: TextHandler | undefined;

  constructor(socket: AnySocket, facts: SocketFacts) {
    this.local = facts.local;
    this.identity = facts.identity;
    this.#flow = new SocketFlow(
      socket,
      facts,
      () => this.#handler?.drained(),
      (error) => this.#handler?.closed(error),
    );
  }

  get gone(): Promise<void> {
    return this.#flow.gone;
  }

  get buffered(): number {
    return this.#flow.buffered;
  }

  start(handler: TextHandler): void {
    this.#handler = handler;
    this.#flow.start((data) => {
      if (typeof data === "string") return handler.text(data);
      handler.malformed(
        new PatchbayError("protocol", "the peer sent a binary message: patchbay.json.v1 is text"),
      );
    });
  }

  send(text: string): void {
    this.#flow.send(text, text.length);
  }

  admitted(): void {
    this.#flow.admit();
  }

  close(abrupt = false, why?: PatchbayError): Promise<void> {
    return this.#flow.close(abrupt, why);
  }
}

/** A link over a WebSocket whose messages are JSON. */
export class WebSocketTextLink extends JsonLink {
  /** Whether the peer has shown before the upgrade that it may come in. */
  readonly authorized: boolean;
  /** Resolves when the socket is closed, and nothing more can come. */
  readonly gone: Promise<void>;

  /**
   * Takes over a socket.
   *
   * @param socket The socket; the link owns it.
   * @param facts What is known of it.
   * @param options How values are told in JSON.
   * @param buffer Where frames are written before they become texts; links may share it.
   */
  constructor(
    socket: AnySocket,
    facts: SocketFacts,
    options: JsonLinkOptions,
    buffer?: Uint8Array<ArrayBuffer>,
  ) {
    const texts = new WebSocketTexts(socket, facts);
    super(texts, options, buffer);
    this.authorized = facts.authorized === true;
    this.gone = texts.gone;
  }
}
