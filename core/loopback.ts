/**
 * Whether a host is this host, by what it is called.
 *
 * @module
 */

/** A number of an IPv4 address, as `URL` and sockets write it. */
const BYTE = "(25[0-5]|2[0-4]\\d|1?\\d?\\d)";
const IPV4 = new RegExp(`^127(\\.${BYTE}){3}$`);

/**
 * Whether a host name or address stands for this host alone, whatever a name server says:
 * `localhost` (RFC 6761 section 6.3), 127.0.0.0/8 (RFC 1122 section 3.2.1.3), `::1` (RFC 4291
 * section 2.5.3), with or without a URL's brackets, and IPv4 within IPv6 (RFC 4291 section 2.5.5.2).
 *
 * @param hostname A name or address, without a port.
 *
 * @example
 * ```ts
 * import { isLoopback } from "@patchbay/core";
 *
 * console.log(isLoopback("127.0.0.1"), isLoopback("[::1]"), isLoopback("127.evil.com")); // true true false
 * ```
 */
export function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase();
  if (name === "localhost") return true;
  const bare = /^\[(.*)\]$/.exec(name)?.[1] ?? name;
  if (bare.includes(":")) return isLoopback6(bare);
  return bare === name && IPV4.test(bare);
}

function isLoopback6(address: string): boolean {
  // All that is an IPv6 address has one canonical form in a URL.
  const canonical = URL.parse(`http://[${address}]/`)?.hostname;
  return canonical === "[::1]" || /^\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\]$/.test(canonical ?? "");
}
