/**
 * The datagram socket that RTPS runs over: its interface, and UDP through Deno.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";

/** Where a datagram comes from or goes to: an IPv4 address and a port. */
export interface Address {
  /** The IPv4 address in dotted form. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/** A datagram that was received. */
export interface Datagram {
  /** Its bytes, in the buffer that was given. */
  readonly bytes: Uint8Array;
  /** Who sent it. */
  readonly from: Address;
}

/** One bound socket. */
export interface DatagramSocket {
  /** What it is bound to. */
  readonly local: Address;
  /**
   * Waits for a datagram; `undefined` once the socket is closed.
   *
   * @param buffer Where its bytes go.
   */
  receive(buffer: Uint8Array<ArrayBuffer>): Promise<Datagram | undefined>;
  /**
   * Sends one; the bytes must stay as they are until the promise settles.
   *
   * @param bytes What to send.
   * @param to Where to.
   */
  send(bytes: Uint8Array<ArrayBuffer>, to: Address): Promise<unknown>;
  /** Closes it. Idempotent. */
  close(): void;
}

/** What a socket is opened for. */
export interface SocketOptions {
  /** The address to bind to. */
  readonly hostname: string;
  /** The port to bind to. */
  readonly port: number;
  /** To receive a multicast group on certain interfaces: several programs share such a port. */
  readonly multicast?: { readonly group: string; readonly interfaces: readonly string[] };
}

/** Opens a socket; rejects with `Deno.errors.AddrInUse` where the port is taken. */
export type OpenSocket = (options: SocketOptions) => Promise<DatagramSocket>;

/** The part of `Deno.DatagramConn` used here: its types are in the unstable library only. */
interface Conn {
  readonly addr: Address;
  receive(buffer: Uint8Array): Promise<[Uint8Array, Address]>;
  send(bytes: Uint8Array, to: Address & { transport: "udp" }): Promise<number>;
  joinMulticastV4(group: string, networkInterface: string): Promise<unknown>;
  close(): void;
}
type Listen = (
  options: Address & { transport: "udp"; reuseAddress?: boolean; loopback?: boolean },
) => Conn;

/** Why UDP cannot be used here; undefined if it can. Asks for no permission. */
export function udpUnavailable(): { reason: string; remedy: string } | undefined {
  if (typeof (Deno as { listenDatagram?: unknown }).listenDatagram === "function") return undefined;
  return {
    reason: "Deno gives datagrams only with its unstable net feature",
    remedy: 'run deno with --unstable-net, or put "unstable": ["net"] into deno.json',
  };
}

/** Opens a UDP socket. */
export const openUdp: OpenSocket = async (
  { hostname, port, multicast }: SocketOptions,
): Promise<DatagramSocket> => {
  const missing = udpUnavailable();
  if (missing !== undefined) {
    throw new PatchbayError("unavailable", missing.reason, { remedy: missing.remedy });
  }
  const listen = (Deno as unknown as { listenDatagram: Listen }).listenDatagram;
  const shared = multicast === undefined ? {} : { reuseAddress: true, loopback: true };
  const conn = listen({ transport: "udp", hostname, port, ...shared });
  try {
    for (const each of multicast?.interfaces ?? []) {
      try {
        await conn.joinMulticastV4(multicast!.group, each);
      } catch (error) {
        // Another address of the same interface has joined already.
        if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      }
    }
  } catch (error) {
    conn.close();
    throw error;
  }
  let open = true;
  const arrived = ([bytes, from]: [Uint8Array, Address]): Datagram => ({ bytes, from });
  const receive = (buffer: Uint8Array<ArrayBuffer>): Promise<Datagram | undefined> => {
    // No async function: this runs for each datagram, and each promise costs.
    return conn.receive(buffer).then(arrived, (error) => {
      // The refusal of an earlier datagram, told here; the socket itself is well.
      if (open && error instanceof Deno.errors.ConnectionRefused) return receive(buffer);
      if (!open || error instanceof Deno.errors.BadResource) return undefined;
      throw error;
    });
  };
  return {
    local: { hostname, port: conn.addr.port },
    receive: (buffer) => open ? receive(buffer) : Promise.resolve(undefined),
    send: (bytes, to) => conn.send(bytes, to as Address & { transport: "udp" }),
    close() {
      if (open) conn.close();
      open = false;
    },
  };
};
