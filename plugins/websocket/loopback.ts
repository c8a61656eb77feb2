/**
 * Whether a host is this host.
 *
 * @module
 */

/**
 * Whether a host name means this host.
 *
 * @param hostname A name or address, in a URL's form.
 */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || hostname === "[::1]" ||
    /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(hostname);
}
