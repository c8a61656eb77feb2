/**
 * Who is let in, as the configuration says it, and what is wrong with that.
 *
 * @module
 */

import { isBase } from "./names.ts";

/** OAuth 2.0 Token Introspection: RFC 7662. */
export interface Introspection {
  /** The endpoint. */
  readonly url: string;
  /** Who asks. */
  readonly clientId: string;
  /** The secret of who asks. */
  readonly clientSecret: string;
  /** Scopes that a token must have. */
  readonly scopes?: readonly string[];
  /** How long an answer is believed, in milliseconds. Default 30 s. */
  readonly cacheMs?: number;
}

/** What an authentication hook is shown. */
export interface Credentials {
  /** The method. */
  readonly method: string;
  /** The path. */
  readonly path: string;
  /** All headers. */
  readonly headers: Headers;
  /** The bearer token, if there is one. */
  readonly token: string | undefined;
  /** The API key, if there is one. */
  readonly apiKey: string | undefined;
}

/** Says who sends a request: a name, or nothing for a stranger. */
export type Authenticate = (
  credentials: Credentials,
) => string | undefined | Promise<string | undefined>;

/** Who is let in. What is given is tried in this order; one that knows the sender is enough. */
export interface AuthOptions {
  /** Tokens by the name of who has them: `Authorization: Bearer …`. */
  readonly tokens?: Readonly<Record<string, string>>;
  /** Keys by the name of who has them. */
  readonly apiKeys?: Readonly<Record<string, string>>;
  /** The header that holds a key. Default `x-api-key`. */
  readonly apiKeyHeader?: string;
  /** Asks an authorization server about each token. */
  readonly introspection?: Introspection;
  /** Asks the program. */
  readonly authenticate?: Authenticate;
}

/**
 * What is wrong with these options, if anything is: a reason and a remedy.
 *
 * @param auth The options.
 */
export function oddAuth(auth: AuthOptions): [string, string] | undefined {
  for (const key of ["tokens", "apiKeys"] as const) {
    for (const [name, secret] of Object.entries(auth[key] ?? {})) {
      if (name === "" || typeof secret !== "string" || secret === "") {
        const whose = name === "" ? "for nobody" : `for ${name}`;
        return [
          `\`auth.${key}\` has an empty secret or name ${whose}`,
          `leave it out, or write ${key}: { ada: "a secret" }`,
        ];
      }
    }
  }
  const { apiKeyHeader = "x", authenticate, introspection } = auth;
  if (!/^[a-z0-9-]+$/i.test(apiKeyHeader)) {
    return ["`auth.apiKeyHeader` is no name of a header", 'write apiKeyHeader: "x-api-key"'];
  }
  if (authenticate !== undefined && typeof authenticate !== "function") {
    return ["`auth.authenticate` is no function", "pass one to Patchbay.open()"];
  }
  if (introspection !== undefined && !isBase(introspection.url)) {
    return ["`auth.introspection` has no URL", "write introspection: { url, clientId, … }"];
  }
  return undefined;
}
