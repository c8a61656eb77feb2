/**
 * Who is let in: tokens, API keys, OAuth 2.0 introspection (RFC 7662), or the program's own say.
 *
 * @module
 */

import { PatchbayError, sameSecret } from "@patchbay/core";
import type { AuthOptions, Credentials } from "./auth_options.ts";
import { Introspector, type Tell } from "./introspection.ts";

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

/** Asks everybody who is configured who sends a request. */
export class Gate {
  readonly #options: AuthOptions;
  readonly #tell: Tell;
  readonly #introspector: Introspector | undefined;
  /** The header that holds a key. */
  readonly apiKeyHeader: string;

  /**
   * @param options Who is let in.
   * @param tell Where the owner is told what goes wrong with asking.
   */
  constructor(options: AuthOptions, tell: Tell) {
    this.#options = options;
    this.#tell = tell;
    this.apiKeyHeader = (options.apiKeyHeader ?? "x-api-key").toLowerCase();
    if (options.introspection !== undefined) {
      this.#introspector = new Introspector(options.introspection, tell);
    }
  }

  /**
   * Who sends a request.
   *
   * @param request The request.
   * @param path Its path.
   * @throws {PatchbayError} `unauthenticated`: nobody known; `unavailable`, `overloaded`: nobody
   * could be asked.
   */
  async identify(request: Request, path: string): Promise<string> {
    const { headers, method } = request;
    const authorization = headers.get("authorization");
    const token = authorization === null
      ? undefined
      : /^bearer +([^ ]+)$/i.exec(authorization)?.[1];
    const apiKey = headers.get(this.apiKeyHeader) ?? undefined;
    const credentials: Credentials = { method, path, headers, token, apiKey };
    const { tokens, apiKeys } = this.#options;
    const identity = holder(tokens, token) ?? holder(apiKeys, apiKey) ??
      (token === undefined ? undefined : await this.#introspector?.identify(token)) ??
      await this.#hook(credentials);
    if (identity !== undefined) return identity;
    const shown = token !== undefined || apiKey !== undefined;
    throw new PatchbayError(
      "unauthenticated",
      shown ? "the token or key is wrong" : "no token or key was sent",
      { remedy: `send Authorization: Bearer …, or ${this.apiKeyHeader}` },
    );
  }

  /** What the program says; nobody, if it cannot. */
  async #hook(credentials: Credentials): Promise<string | undefined> {
    let said: unknown;
    try {
      said = await this.#options.authenticate?.(credentials);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      // The owner is told why; a stranger learns nothing of what is inside.
      this.#tell(
        "authenticate",
        (untold) =>
          new PatchbayError("internal", `config.rest.auth.authenticate threw: ${why}`, {
            transport: "rest",
            details: { untold },
            remedy: "have it return undefined for strangers; until then it lets in nobody",
            cause,
          }),
      );
    }
    // No name is nobody's.
    return typeof said === "string" && said !== "" ? said : undefined;
  }
}
