/**
 * What ioredis and Redis say, as Patchbay's errors: translated here and nowhere else.
 *
 * @module
 */

import { type ErrorCode, PatchbayError } from "@patchbay/core";

/** Replies of Redis by their first word: the code, and what to do. */
const REPLIES: Readonly<Record<string, readonly [ErrorCode, string, boolean?]>> = {
  WRONGPASS: ["unauthenticated", "set config.redis.username and password as the server knows them"],
  NOAUTH: ["unauthenticated", "the server wants a password: set config.redis.password"],
  NOPERM: ["forbidden", "grant it: redis-cli ACL SETUSER … (the plugin's README has the line)"],
  LOADING: ["unavailable", "the server loads its data: wait, or try again"],
  READONLY: ["unavailable", "this is a replica: give the primary, Sentinel or the cluster"],
  MASTERDOWN: ["unavailable", "the primary is down: see redis-cli INFO replication"],
  CLUSTERDOWN: ["unavailable", "a part of the cluster is down: see redis-cli CLUSTER INFO"],
  MOVED: ["unavailable", "this is a node of a cluster: set config.redis.cluster"],
  CROSSSLOT: ["invalid", "these keys lie on different nodes: give them the same {hash tag}"],
  OOM: ["overloaded", "the server is full: raise maxmemory, or trim sooner (maxLength, maxAgeMs)"],
  MISCONF: ["unavailable", "the server cannot write to its disk: see its log"],
  WRONGTYPE: ["invalid", "the key holds something else: choose another key or prefix"],
  NOSCRIPT: ["unavailable", "try again"],
};

/** The words of the socket by their code. */
const SOCKET: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the host's name cannot be resolved",
  ETIMEDOUT: "it did not answer",
  ECONNRESET: "it closed the connection",
  EHOSTUNREACH: "there is no way to that host",
  ENOENT: "there is no such socket",
  EACCES: "the socket may not be opened",
};

function textOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

/** Whether a reply will not become another one by trying again: a wrong password or database. */
export function isRefusal(error: unknown): boolean {
  return /^(WRONGPASS|NOAUTH|NOPERM|NOPROTO|ERR)\b/.test(textOf(error));
}

/** Whether a connection was lost, as opposed to a command refused. */
export function isLoss(error: unknown): boolean {
  const text = textOf(error);
  return /max retries per request|Connection is closed|connection close|Stream isn't writeable|Cluster is ended|None of startup nodes|ECONN|EPIPE/i
    .test(text);
}

/** Whether what was to be told is out of reach: by a lost connection, or a part of a cluster. */
export function isAway(error: unknown): boolean {
  return isLoss(error) || /^(CLUSTERDOWN|MASTERDOWN|LOADING)\b/.test(textOf(error));
}

/**
 * An error of one command.
 *
 * @param error What ioredis rejected with.
 * @param where The server, for the message.
 * @param doing What was being done.
 */
export function translate(error: unknown, where: string, doing: string): PatchbayError {
  if (error instanceof PatchbayError) return error;
  const text = textOf(error);
  const [word] = text.split(/[\s:]/, 1);
  const known = REPLIES[word];
  if (known !== undefined) {
    const [code, remedy] = known;
    return new PatchbayError(code, `${doing}: ${where} answered ${text}`, { remedy, cause: error });
  }
  if (isLoss(error)) {
    return new PatchbayError("closed", `${doing}: the connection to ${where} was lost`, {
      cause: error,
    });
  }
  return new PatchbayError("unavailable", `${doing}: ${where}: ${text}`, {
    remedy: "see the server's log",
    cause: error,
  });
}

/** What ioredis says when none of the sentinels has told where the primary is, and the last reason. */
const SENTINELS = /^All sentinels are unreachable(?:.*? Last error: (.*))?/s;

/** No sentinel has told where the primary is. */
function noPrimary(error: unknown, last: string | undefined, where: string): PatchbayError {
  const [word] = (last ?? "").split(" ", 1);
  const known = REPLIES[word];
  if (last !== undefined && known !== undefined && isRefusal(last)) {
    return new PatchbayError(
      known[0],
      `Redis at ${where}: the sentinels refuse this bay: ${last}`,
      {
        retryable: false,
        remedy: "set config.redis.sentinelPassword to the password of the sentinels",
        cause: error,
      },
    );
  }
  if (last === undefined || /^ERR No such master/i.test(last)) {
    return new PatchbayError(
      "unavailable",
      `Redis at ${where}: the sentinels do not know the name`,
      {
        remedy: "set config.redis.sentinelName to a name that redis-cli SENTINEL MASTERS shows",
        cause: error,
      },
    );
  }
  const why = isLoss(last) ? "they refuse the connection, or close it" : last;
  return new PatchbayError("unavailable", `Redis at ${where}: no sentinel answers: ${why}`, {
    details: { where },
    remedy: "start one there (redis-sentinel), or set config.redis.sentinels to where they run",
    cause: error,
  });
}

/**
 * The error of a connection that could not be made.
 *
 * @param error What happened.
 * @param where The server: host and port, or path.
 * @param timeoutMs How long was waited.
 */
export function unreachable(error: unknown, where: string, timeoutMs: number): PatchbayError {
  if (error instanceof PatchbayError) return error;
  if (error === undefined) {
    return new PatchbayError(
      "unavailable",
      `Redis at ${where} cannot be reached: it did not answer within ${timeoutMs} ms`,
      { remedy: `see whether it runs there: redis-cli PING; or set config.redis.url` },
    );
  }
  const text = textOf(error);
  const sentinels = SENTINELS.exec(text);
  if (sentinels !== null) return noPrimary(error, sentinels[1], where);
  if (isRefusal(error)) {
    const known = REPLIES[text.split(" ", 1)[0]];
    return new PatchbayError(
      known?.[0] ?? "unavailable",
      `Redis at ${where} refuses this bay: ${text}`,
      {
        retryable: false,
        remedy: known?.[1] ?? "correct the configuration of redis (database, protocol)",
        cause: error,
      },
    );
  }
  if (/certificate|issuer|self.signed|handshake|tls|ssl/i.test(text)) {
    return new PatchbayError("unavailable", `Redis at ${where} cannot be trusted: ${text}`, {
      retryable: false,
      remedy: "set config.redis.ca to the authority that signed its certificate, and serverName " +
        "to the name in it; cert and key if it asks for a client's certificate",
      cause: error,
    });
  }
  const code = (error as { code?: unknown }).code;
  const why = typeof code === "string" && SOCKET[code] !== undefined ? SOCKET[code] : text;
  return new PatchbayError("unavailable", `Redis at ${where} cannot be reached: ${why}`, {
    details: { where },
    remedy: `start it there (redis-server), or set config.redis.url to where it runs`,
    cause: error,
  });
}
