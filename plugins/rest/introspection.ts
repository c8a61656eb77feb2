/**
 * Asks an OAuth 2.0 authorization server whose a token is (RFC 7662), and remembers what it said for
 * a while. What strangers send pushes out nothing that is known to be good.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { PatchbayError } from "@patchbay/core";
import { readBody } from "./bodies.ts";
import type { Introspection } from "./auth_options.ts";

/** How many tokens are remembered of those that are good, and of those that are not. */
export const MAX_REMEMBERED = 4096;
/** How many are asked about at once. */
export const MAX_ASKED = 16;
/** How many more may wait for that. */
export const MAX_WAITING = 256;
/** How long an answer is believed by default, in milliseconds. */
const CACHE_MS = 30_000;
/** How long the authorization server may take, and how long one waits to ask it, in milliseconds. */
const INTROSPECTION_MS = 5_000;
/** The largest answer, in bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Called with the kind of what went wrong here, and what to tell the owner of it. */
export type Tell = (kind: string, what: (untold: number) => PatchbayError) => void;

/** Names by the hash of a token, each for its time; the oldest goes when there are too many. */
class Remembered<Name> {
  readonly #entries = new Map<string, { readonly name: Name; readonly untilMs: number }>();

  get(key: string): { readonly name: Name } | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.untilMs > Date.now()) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  set(key: string, name: Name, untilMs: number): void {
    this.#entries.delete(key);
    this.#entries.set(key, { name, untilMs });
    if (this.#entries.size <= MAX_REMEMBERED) return;
    for (const oldest of this.#entries.keys()) return void this.#entries.delete(oldest);
  }
}

/** Asks an authorization server, and remembers what it said. */
export class Introspector {
  readonly #options: Introspection;
  readonly #tell: Tell;
  readonly #good = new Remembered<string>();
  readonly #refused = new Remembered<undefined>();
  readonly #asking = new Map<string, Promise<string | undefined>>();
  #asked = 0;
  readonly #waiting: (() => void)[] = [];

  /**
   * @param options Whom to ask, and how.
   * @param tell Where the owner is told that nobody could be asked.
   */
  constructor(options: Introspection, tell: Tell) {
    this.#options = options;
    this.#tell = tell;
  }

  /**
   * Whose a token is; `undefined`: nobody's that may come in.
   *
   * @param token The token.
   * @throws {PatchbayError} `unavailable`: nobody could be asked; `overloaded`: too many ask.
   */
  async identify(token: string): Promise<string | undefined> {
    // No token stays in memory that somebody else has to keep secret.
    const key = createHash("sha256").update(token).digest("base64");
    const known = this.#good.get(key) ?? this.#refused.get(key);
    if (known !== undefined) return known.name;
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#inTurn(() => this.#ask(token, key)).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return await asking;
  }

  async #inTurn<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#asked >= MAX_ASKED) await this.#turn();
    else this.#asked++;
    try {
      return await ask();
    } finally {
      // Whoever waits takes the place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#asked--;
      else next();
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      const go = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(busy());
      }, INTROSPECTION_MS);
      this.#waiting.push(go);
    });
  }

  async #ask(token: string, key: string): Promise<string | undefined> {
    const { scopes = [], cacheMs = CACHE_MS } = this.#options;
    let answer: Readonly<Record<string, unknown>>;
    try {
      answer = await this.#fetch(token);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      this.#tell(
        "introspection",
        (untold) =>
          new PatchbayError("unavailable", `the authorization server cannot be asked: ${why}`, {
            transport: "rest",
            details: { untold },
            remedy: "see config.rest.auth.introspection, and whether that server is there",
            cause,
          }),
      );
      // Strangers read this: it says nothing of where that server is.
      throw new PatchbayError("unavailable", "the authorization server cannot be asked", {
        transport: "rest",
      });
    }
    const { active, scope, exp, sub, username, client_id } = answer;
    const has = typeof scope === "string" ? scope.split(" ") : [];
    const expiresMs = typeof exp === "number" ? exp * 1000 : Infinity;
    const untilMs = Math.min(Date.now() + cacheMs, expiresMs);
    if (
      active === true && scopes.every((one) => has.includes(one)) && expiresMs > Date.now()
    ) {
      const name = [sub, username, client_id].find(isText) ?? "unnamed";
      this.#good.set(key, name, untilMs);
      return name;
    }
    this.#refused.set(key, undefined, Date.now() + cacheMs);
    return undefined;
  }

  async #fetch(token: string): Promise<Readonly<Record<string, unknown>>> {
    const { url, clientId, clientSecret } = this.#options;
    // RFC 7662 §2.1; the credentials as RFC 6749 §2.3.1 writes them.
    const pair = [clientId, clientSecret].map(encodeURIComponent).join(":");
    const signal = AbortSignal.timeout(INTROSPECTION_MS);
    const response = await fetch(url, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(pair)}`, accept: "application/json" },
      body: new URLSearchParams({ token, token_type_hint: "access_token" }),
      signal,
      redirect: "error",
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`it answered with ${response.status}`);
    }
    const bytes = await readBody(response, MAX_ANSWER_BYTES, signal);
    const answer: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof answer !== "object" || answer === null) throw new Error("its answer is no object");
    return answer as Record<string, unknown>;
  }
}

function busy(): PatchbayError {
  return new PatchbayError("overloaded", "too many tokens are being asked about", {
    transport: "rest",
    details: { maxAsked: MAX_ASKED, maxWaiting: MAX_WAITING },
    remedy: "try again later",
  });
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
