/**
 * Who is let in: tokens, API keys, OAuth 2.0 introspection (RFC 7662), or the program's own say.
 *
 * @module
 */

import { PatchbayError, sameSecret } from "@patchbay/core";
import type { AuthOptions, Credentials, Introspection } from "./config.ts";

/** How many answers of an authorization server are remembered. */
const MAX_REMEMBERED = 4096;
/** How long an answer is believed by default, in milliseconds. */
const CACHE_MS = 30_000;
/** How long the authorization server may take, in milliseconds. */
const INTROSPECTION_MS = 5_000;

function holder(
  secrets: Readonly<Record<string, string>> | undefined,
  given: string | undefined,
): string | undefined {
  if (secrets === undefined || given === undefined) return undefined;
  let found: string | undefined;
  // All are compared: the time tells nothing.
  for (const [name, secret] of Object.entries(secrets)) {
    if (sameSecret(given, secret)) found ??= name;
  }
  return found;
}

/** Asks an authorization server, and remembers what it said for a while. */
class Introspector {
  readonly #options: Introspection;
  readonly #remembered = new Map<string, { readonly name: string | undefined; untilMs: number }>();
  readonly #asking = new Map<string, Promise<string | undefined>>();

  constructor(options: Introspection) {
    this.#options = options;
  }

  async identify(token: string): Promise<string | undefined> {
    const known = this.#remembered.get(token);
    if (known !== undefined && known.untilMs > Date.now()) return known.name;
    let asking = this.#asking.get(token);
    if (asking === undefined) {
      asking = this.#ask(token).finally(() => this.#asking.delete(token));
      this.#asking.set(token, asking);
    }
    return await asking;
  }

  async #ask(token: string): Promise<string | undefined> {
    const { url, clientId, clientSecret, scopes = [], cacheMs = CACHE_MS } = this.#options;
    let answer: Record<string, unknown>;
    try {
      // RFC 7662 §2.1; the credentials as RFC 6749 §2.3.1 writes them.
      const pair = [clientId, clientSecret].map(encodeURIComponent).join(":");
      const response = await fetch(url, {
        method: "POST",
        headers: { authorization: `Basic ${btoa(pair)}`, accept: "application/json" },
        body: new URLSearchParams({ token, token_type_hint: "access_token" }),
        signal: AbortSignal.timeout(INTROSPECTION_MS),
        redirect: "error",
      });
      if (!response.ok) {
        await response.body?.cancel();
        throw new Error(`it answered with ${response.status}`);
      }
      answer = await response.json();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new PatchbayError("unavailable", `the authorization server cannot be asked: ${why}`, {
        transport: "rest",
        remedy: "try again, or see config.rest.auth.introspection",
        cause,
      });
    }
    const { active, scope, exp, sub, username, client_id } = answer;
    const has = typeof scope === "string" ? scope.split(" ") : [];
    const expiresMs = typeof exp === "number" ? exp * 1000 : Infinity;
    const good = active === true && scopes.every((one) => has.includes(one)) &&
      expiresMs > Date.now();
    const name = good ? [sub, username, client_id].find(isText) ?? "unnamed" : undefined;
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(token, { name, untilMs: Math.min(Date.now() + cacheMs, expiresMs) });
    return name;
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

/** Asks everybody who is configured who sends a request. */
export class Gate {
  readonly #options: AuthOptions;
  readonly #introspector: Introspector | undefined;
  /** The header that holds a key. */
  readonly apiKeyHeader: string;

  /** @param options Who is let in. */
  constructor(options: AuthOptions) {
    this.#options = options;
    this.apiKeyHeader = (options.apiKeyHeader ?? "x-api-key").toLowerCase();
    if (options.introspection !== undefined) {
      this.#introspector = new Introspector(options.introspection);
    }
  }

  /**
   * Who sends a request.
   *
   * @param request The request.
   * @param path Its path.
   * @throws {PatchbayError} `unauthenticated`: nobody known; `unavailable`: nobody could be asked.
   */
  async identify(request: Request, path: string): Promise<string> {
    const { headers, method } = request;
    const authorization = headers.get("authorization");
    const token = authorization === null
      ? undefined
      : /^bearer +([^ ]+)$/i.exec(authorization)?.[1];
    const apiKey = headers.get(this.apiKeyHeader) ?? undefined;
    const credentials: Credentials = { method, path, headers, token, apiKey };
    const { tokens, apiKeys, authenticate } = this.#options;
    const identity = holder(tokens, token) ?? holder(apiKeys, apiKey) ??
      (token === undefined ? undefined : await this.#introspector?.identify(token)) ??
      await authenticate?.(credentials);
    if (identity !== undefined) return identity;
    const shown = token !== undefined || apiKey !== undefined;
    throw new PatchbayError(
      "unauthenticated",
      shown ? "the token or key is wrong" : "no token or key was sent",
      { remedy: `send Authorization: Bearer …, or ${this.apiKeyHeader}` },
    );
  }
}
