/**
 * TLS of either side: what is given as PEM, as grpc-js and `node:tls` take it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { rootCertificates } from "node:tls";
import { type ChannelCredentials, credentials } from "npm:@grpc/grpc-js@1.14.7";

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

/** The client's side of TLS. */
export function clientCredentials(tls: TlsOptions = {}): ChannelCredentials {
  const bytes = (text: string | undefined) => text === undefined ? null : Buffer.from(text);
  const { ca, clientCert, clientKey } = tls;
  const roots = ca === undefined ? undefined : [...rootCertificates, ...ca].join("\n");
  return credentials.createSsl(
    bytes(roots),
    bytes(clientKey),
    bytes(clientCert),
    tls.dangerouslyAcceptAnyCertificate === true ? { rejectUnauthorized: false } : {},
  );
}
