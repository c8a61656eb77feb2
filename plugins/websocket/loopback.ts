/**
 * Whether a host is this host, and whether it is an address.
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

/**
 * Whether a host is told by its address, or is this host by definition, and not by a name that
 * somebody could give it.
 *
 * @param hostname A name or address, in a URL's form.
 */
export function isAddress(hostname: string): boolean {
  return hostname === "localhost" || hostname.startsWith("[") || /^\d+(\.\d+){3}$/.test(hostname);
}
