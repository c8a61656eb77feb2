/**
 * Codes and HTTP statuses, both ways, and errors as problem documents (RFC 9457).
 *
 * @module
 */

import { ERROR_CODES, type ErrorCode, PatchbayError, type WireError } from "@patchbay/core";

/** The media type of a problem document: RFC 9457 §3. */
export const PROBLEM = "application/problem+json";

/** The status that a code is answered with. */
export const STATUS_OF: Readonly<Record<ErrorCode, number>> = {
  unavailable: 503,
  not_found: 404,
  closed: 503,
  deadline_exceeded: 504,
  too_large: 413,
  invalid: 400,
  protocol: 400,
  overloaded: 429,
  unauthenticated: 401,
  forbidden: 403,
  remote: 500,
  internal: 500,
};

/** The code that a status is read as, where the answer does not tell: RFC 9110 §15, RFC 6585. */
const CODE_OF: Readonly<Record<number, ErrorCode>> = {
  401: "unauthenticated",
  403: "forbidden",
  404: "not_found",
  407: "unauthenticated",
  408: "deadline_exceeded",
  410: "not_found",
  413: "too_large",
  414: "too_large",
  421: "not_found",
  429: "overloaded",
  431: "too_large",
  502: "unavailable",
  503: "unavailable",
  504: "deadline_exceeded",
  505: "protocol",
};

/** The titles of the statuses that this side answers with: RFC 9110 §15. */
const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/**
 * The code that a status stands for.
 *
 * @param status The status of an answer that is no success.
 */
export function codeOf(status: number): ErrorCode {
  const known = CODE_OF[status];
  if (known !== undefined) return known;
  if (status >= 500) return "remote";
  return status >= 400 ? "invalid" : "protocol";
}

/**
 * The status for an error of a handler or of what leads to it. What is wrong with the answer is no
 * fault of the request, so it is 500.
 *
 * @param error The error.
 * @param answering Whether it happened to the answer.
 */
export function statusOf(error: PatchbayError, answering = false): number {
  const status = STATUS_OF[error.code];
  if (status >= 500 || status === 429) return status;
  const path = error.details?.path;
  const ours = answering || (typeof path === "string" && /^response\b/.test(path));
  return ours && (error.code === "invalid" || error.code === "too_large") ? 500 : status;
}

/** A problem document: RFC 9457 §3.1, and what Patchbay adds to it (§3.2). */
export interface Problem {
  /** `about:blank`: the title says no more than the status does (§4.2.1). */
  readonly type: "about:blank";
  /** The status in words. */
  readonly title: string;
  /** The status. */
  readonly status: number;
  /** What happened. */
  readonly detail: string;
  /** The code of {@link PatchbayError}. */
  readonly code: ErrorCode;
  /** Facts for programs. */
  readonly details?: Record<string, unknown>;
  /** What to do. */
  readonly remedy?: string;
  /** Whether trying again may help, where the code alone does not say. */
  readonly retryable?: boolean;
}

/**
 * The problem document of an error.
 *
 * @param error The error.
 * @param status The status it is answered with.
 */
export function problemOf(error: PatchbayError, status: number): Problem {
  const { code, message, ...rest } = error.toWire();
  return {
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    detail: message,
    code: code as ErrorCode,
    ...rest,
  };
}

/** What is answered to whom this server does not know, or does not want. */
const STRANGERS: ReadonlySet<number> = new Set([401, 403, 421]);

/**
 * The answer that tells an error.
 *
 * @param error The error.
 * @param status The status; default: the code's.
 * @param headers Further headers.
 */
export function problemResponse(
  error: PatchbayError,
  status: number = statusOf(error),
  headers: Readonly<Record<string, string>> = {},
): Response {
  const more: Record<string, string> = { "content-type": PROBLEM, ...headers };
  if (status === 401) more["www-authenticate"] ??= 'Bearer realm="patchbay"';
  // Who is not let in keeps no connection that others need.
  if (STRANGERS.has(status)) more.connection ??= "close";
  // RFC 9110 §10.2.3: in seconds.
  if (status === 429 || status === 503) more["retry-after"] ??= "1";
  return new Response(JSON.stringify(problemOf(error, status)), { status, headers: more });
}

const CODES: ReadonlySet<string> = new Set(ERROR_CODES);

/** How much of a foreign answer is told in an error, in characters. */
const EXCERPT = 200;

/**
 * Reads the error out of an answer that is no success. Never throws.
 *
 * @param status The answer's status.
 * @param contentType Its media type.
 * @param text Its body.
 * @param what What was asked, for the message.
 */
export function errorOf(
  status: number,
  contentType: string,
  text: string,
  what: string,
): PatchbayError {
  if (contentType.startsWith(PROBLEM)) {
    const problem = parseObject(text);
    const { code, detail, title, details, retryable, remedy } = problem;
    if (typeof code === "string" && CODES.has(code)) {
      return PatchbayError.fromWire({ code, message: detail, details, retryable, remedy });
    }
    const said = typeof detail === "string" ? detail : typeof title === "string" ? title : "";
    return new PatchbayError(codeOf(status), said || `${what} was answered with ${status}`, {
      details: { status },
    });
  }
  const excerpt = contentType.startsWith("text/html") ? "" : text.slice(0, EXCERPT).trim();
  return new PatchbayError(
    codeOf(status),
    `${what} was answered with ${status}${excerpt === "" ? "" : `: ${excerpt}`}`,
    { details: { status } },
  );
}

function parseObject(text: string): Partial<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  } catch {
    return {};
  }
}

/** Reads an error that came as an event of a job's stream. Never throws. */
export function errorOfProblem(text: string): PatchbayError {
  const { code, detail, details, retryable, remedy } = parseObject(text);
  return PatchbayError.fromWire(
    { code, message: detail, details, retryable, remedy } as Partial<WireError>,
  );
}
