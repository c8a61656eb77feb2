/**
 * TLS of either side: what is given as PEM, as `node:tls` takes it.
 *
 * @module
 */

import { isIP, type Socket } from "node:net";
import { connect, rootCertificates, type TLSSocket } from "node:tls";

/** TLS, of either side. All certificates and keys are PEM texts. */
export interface TlsOptions {
  /** The server's certificate chain. */
  readonly cert?: string;
  /** The server's key. */
  readonly key?: string;
  /** Ask clients for a certificate of these authorities. */
  readonly clientCa?: string;
  /** Authorities that a client believes, besides those of the system. */
  readonly ca?: readonly string[];
  /** The certificate that a client shows. */
  readonly clientCert?: string;
  /** Its key. */
  readonly clientKey?: string;
  /** The name that the server's certificate must have, where it is not the host's. */
  readonly serverName?: string;
  /** Believe any certificate: for a laboratory. Warned of at every start. */
  readonly dangerouslyAcceptAnyCertificate?: boolean;
}

/** What may go wrong with a handshake, and does not come as an error: it just ends. */
const ENDED = "the server ended the TLS handshake";

/**
 * Secures a connection, the client's side. Not grpc-js's own: that asks for the name of a host where
 * there is a number, which Deno refuses.
 *
 * @param socket The connection.
 * @param host The host, by name or number.
 * @param options What is believed and shown.
 */
export function secure(socket: Socket, host: string, options: TlsOptions = {}): Promise<TLSSocket> {
  const { ca, clientCert, clientKey, serverName } = options;
  const name = serverName ?? host;
  return new Promise((resolve, reject) => {
    const secured = connect({
      socket,
      host: name,
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ...(ca === undefined ? {} : { ca: [...rootCertificates, ...ca] }),
      ...(clientCert === undefined ? {} : { cert: clientCert, key: clientKey }),
      ALPNProtocols: ["h2"],
      rejectUnauthorized: options.dangerouslyAcceptAnyCertificate !== true,
    });
    const failed = (error?: Error) => {
      secured.destroy();
      reject(new Error(`TLS: ${error?.message || ENDED}`));
    };
    const ended = () => failed();
    secured.once("error", failed);
    secured.once("close", ended);
    secured.once("secureConnect", () => {
      secured.removeListener("error", failed);
      secured.removeListener("close", ended);
      if (secured.alpnProtocol === "h2") resolve(secured);
      else failed(new Error("the server does not agree on HTTP/2"));
    });
  });
}
