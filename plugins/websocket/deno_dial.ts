/**
 * How Deno dials: with headers, a certificate authority and a client certificate of its own; with
 * `npm:ws` where permessage-deflate is wanted, or where certificates are not to be verified.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { TlsConfig } from "./config.ts";
import type { Dialled, Dialler } from "./dial.ts";
import { readPem } from "./pem.ts";

/** What a dialler is made with. */
export interface DenoDialOptions {
  /** Sent with the handshake. */
  readonly headers: Readonly<Record<string, string>>;
  /** Certificates. */
  readonly tls: TlsConfig | undefined;
  /** Whether to offer permessage-deflate. */
  readonly perMessageDeflate: boolean;
  /** Messages from this size on are compressed by it, in bytes. */
  readonly compressionThreshold: number;
}

/** Deno's own `WebSocket` takes more than the standard's. */
type DenoWebSocket = new (
  url: string,
  options: { protocols: string[]; headers: Record<string, string>; client?: Deno.HttpClient },
) => WebSocket;

/** Dials with what Deno has. */
export class DenoDialler implements Dialler {
  readonly #options: DenoDialOptions;
  #client: Promise<Deno.HttpClient> | undefined;
  #closed = false;

  /** @param options What is sent and trusted. */
  constructor(options: DenoDialOptions) {
    this.#options = options;
  }

  /** As {@link Dialler.dial}. */
  async dial(url: string, protocols: string[]): Promise<Dialled> {
    const { tls, headers, perMessageDeflate } = this.#options;
    if (perMessageDeflate || tls?.unsafelySkipVerification === true) {
      // Not literal: the package is fetched by who needs it, and by nobody else.
      const { dialNode } = await import(new URL("./node_dial.ts", import.meta.url).href);
      return (dialNode as typeof import("./node_dial.ts").dialNode)(url, protocols, this.#options);
    }
    const client = tls === undefined ? undefined : await (this.#client ??= makeClient(tls));
    if (this.#closed) throw new PatchbayError("closed", "the wire has been closed");
    const made = new (WebSocket as unknown as DenoWebSocket)(url, {
      protocols,
      headers: { ...headers },
      client,
    });
    return { socket: made };
  }

  /** As {@link Dialler.close}. */
  close(): void {
    this.#closed = true;
    this.#client?.then((client) => client.close(), () => {});
  }
}

async function makeClient({ caFile, certFile, keyFile }: TlsConfig): Promise<Deno.HttpClient> {
  const ca = await readPem(caFile);
  const cert = await readPem(certFile);
  const key = await readPem(keyFile);
  const caCerts = ca === undefined ? [] : [ca];
  if (cert === undefined || key === undefined) return Deno.createHttpClient({ caCerts });
  return Deno.createHttpClient({ caCerts, cert, key });
}
