/**
 * Patchbay's codes as statuses of gRPC and back: translated here and nowhere else.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Metadata, type ServiceError, status, type StatusObject } from "npm:@grpc/grpc-js@1.14.7";
import { type ErrorCode, PatchbayError } from "@patchbay/core";
import { tooLarge } from "./bodies.ts";
import { ERROR } from "./metadata.ts";

/** The status of each code. */
export const STATUS_OF: Readonly<Record<ErrorCode, status>> = {
  unavailable: status.UNAVAILABLE,
  not_found: status.NOT_FOUND,
  closed: status.UNAVAILABLE,
  deadline_exceeded: status.DEADLINE_EXCEEDED,
  too_large: status.RESOURCE_EXHAUSTED,
  invalid: status.INVALID_ARGUMENT,
  protocol: status.INVALID_ARGUMENT,
  overloaded: status.RESOURCE_EXHAUSTED,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  remote: status.UNKNOWN,
  internal: status.INTERNAL,
};

/** The code of each status that came without ours. */
export const CODE_OF: Readonly<Record<number, ErrorCode>> = {
  [status.CANCELLED]: "closed",
  [status.UNKNOWN]: "remote",
  [status.INVALID_ARGUMENT]: "invalid",
  [status.DEADLINE_EXCEEDED]: "deadline_exceeded",
  [status.NOT_FOUND]: "not_found",
  [status.ALREADY_EXISTS]: "remote",
  [status.PERMISSION_DENIED]: "forbidden",
  [status.RESOURCE_EXHAUSTED]: "overloaded",
  [status.FAILED_PRECONDITION]: "remote",
  [status.ABORTED]: "remote",
  [status.OUT_OF_RANGE]: "remote",
  [status.UNIMPLEMENTED]: "not_found",
  [status.INTERNAL]: "remote",
  [status.UNAVAILABLE]: "unavailable",
  [status.DATA_LOSS]: "remote",
  [status.UNAUTHENTICATED]: "unauthenticated",
};

/** The most characters of a message in `grpc-message`: a header block has a limit. */
const MAX_MESSAGE = 1024;
/** The most bytes of an error in the trailer. */
const MAX_TRAILER = 6 * 1024;

/**
 * An error as the status that ends a call.
 *
 * @param error The error.
 * @param code Another status than its own: a handler of a `.proto` may choose one.
 */
export function statusOf(error: PatchbayError, code?: status): StatusObject {
  const metadata = new Metadata();
  metadata.set(ERROR, trailerOf(error));
  return { code: code ?? STATUS_OF[error.code], details: cut(error.message), metadata };
}

/** The same as an `Error`, for streams, which take nothing else. */
export function failureOf(error: PatchbayError, code?: status): Partial<ServiceError> & Error {
  return Object.assign(new Error(error.message), statusOf(error, code));
}

function trailerOf(error: PatchbayError): Buffer {
  const wire = error.toWire();
  const whole = Buffer.from(JSON.stringify(wire));
  if (whole.length <= MAX_TRAILER) return whole;
  const { code, message, retryable } = wire;
  return Buffer.from(JSON.stringify({ code, message: cut(message), retryable }));
}

/** A text as `grpc-message` can hold it: half a character makes grpc-js throw where nobody catches. */
function cut(text: string): string {
  const kept = text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE)}…`;
  return kept.toWellFormed();
}

/** What grpc-js says of a message over its limit. */
const OVERSIZE = /(?:larger than max|exceed)\D*\(?(\d+) vs\.? (\d+)/i;
/** What it says where no connection could be made. */
const NOT_CONNECTED =
  /No connection established|Name resolution failed|Failed to connect|Channel has been shut down|Channel closed before|Resolution note/i;
/** What a refused handshake looks like. */
const TLS_TROUBLE =
  /certificate|self.signed|UnknownIssuer|UnknownCA|unknown ca|CERT_|SSL|TLS|alert|handshake/i;

/** What it says where the connection broke just as something was sent. */
const CUT =
  /ended without gRPC status|internal client error|ECONNRESET|EPIPE|Failed to (write|start)|ERR_HTTP2_/i;

/** What is known of a failed call besides its status. */
export interface Circumstances {
  /** Whom it was for. */
  readonly where: string;
  /** What was asked for. */
  readonly what: string;
}

/**
 * The error behind a status.
 *
 * @param failure What grpc-js has ended the call with.
 * @param about What is known besides.
 */
export function errorOf(
  failure: Pick<StatusObject, "code" | "details"> & { readonly metadata?: Metadata },
  { where, what }: Circumstances,
): PatchbayError {
  const [trailer] = failure.metadata?.get(ERROR) ?? [];
  if (trailer instanceof Uint8Array) {
    try {
      return PatchbayError.fromWire(JSON.parse(trailer.toString()));
    } catch {
      // Not ours after all: the status counts.
    }
  }
  const { code, details } = failure;
  const name = status[code] ?? String(code);
  const oversize = code === status.RESOURCE_EXHAUSTED ? OVERSIZE.exec(details) : null;
  if (oversize !== null) return tooLarge(Number(oversize[1]), Number(oversize[2]));
  const facts = { grpcStatus: name };
  const cut = code === status.INTERNAL && CUT.test(details);
  if (code === status.UNAVAILABLE || cut) return lost(details, where, facts);
  if (code === status.UNIMPLEMENTED) {
    return new PatchbayError("not_found", `${what}: ${where} does not have it (${details})`, {
      details: { ...facts, notExecuted: true },
      remedy: "compare the service and method with what grpcurl … list shows",
    });
  }
  const known = CODE_OF[code] ?? "internal";
  return new PatchbayError(known, details || name, {
    details: facts,
    ...(known === "unauthenticated"
      ? { remedy: "set config.grpc.token, or tls.clientCert and clientKey" }
      : {}),
  });
}

function lost(
  details: string,
  where: string,
  facts: Record<string, unknown>,
): PatchbayError {
  if (!NOT_CONNECTED.test(details)) {
    return new PatchbayError("closed", `${where}: the connection was lost (${details})`, {
      details: facts,
    });
  }
  const tls = TLS_TROUBLE.test(details);
  return new PatchbayError("unavailable", `${where} cannot be reached: ${reasonOf(details)}`, {
    details: { ...facts, notExecuted: true },
    remedy: tls
      ? "give config.grpc.tls.ca the authority of the server's certificate, and clientCert with " +
        "clientKey where it asks for one"
      : "start what listens there, or correct the address",
  });
}

/** The last of what grpc-js has tried, without the time of day that it adds. */
function reasonOf(details: string): string {
  const last = /Last error: (.*?)(?:\. Resolution note:.*)?$/s.exec(details)?.[1] ?? details;
  return last.replace(/\s*\(\d{4}-\d\d-\d\dT[^)]*\)/g, "").trim() || "no connection";
}
