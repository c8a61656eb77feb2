/**
 * The sockets of a participant: one pair for each interface, one for the multicast group; and which
 * of them reaches an address.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import { MAX_DATAGRAM_BYTES, MULTICAST_GROUP, Port } from "./constants.ts";
import { Destination, Outbox } from "./outbox.ts";
import type { Address, DatagramSocket, OpenSocket } from "./socket.ts";

/** One interface of the machine. */
export interface Interface {
  /** Its IPv4 address. */
  readonly address: string;
  /** How many leading bits of it name its network. */
  readonly bits: number;
}

/** What is opened. */
export interface NetworkOptions {
  readonly domain: number;
  readonly interfaces: readonly Interface[];
  readonly multicast: boolean;
  readonly openSocket: OpenSocket;
  /** The largest datagram to another machine. */
  readonly mtuBytes: number;
}

interface Pair {
  readonly interface: Interface;
  readonly metatraffic: DatagramSocket;
  readonly user: DatagramSocket;
}

/** How many participants of one domain may be on one machine: more do not fit between domains. */
const MAX_PARTICIPANTS = 119;
/** Behind the first free ports so many are looked at: others may have closed before them. */
const LOOK_AHEAD = 8;
/** The largest datagram within this machine: a few of them fit into a receive buffer. */
const LOCAL_DATAGRAM_BYTES = 60_000;

/** An IPv4 address as a number; `undefined` if it is none. */
export function ipv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) {
    return undefined;
  }
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** Whether an address lies in an interface's network. */
function isNear({ address, bits }: Interface, other: string): boolean {
  const a = ipv4(address);
  const b = ipv4(other);
  if (a === undefined || b === undefined) return false;
  const size = 2 ** (32 - bits);
  return Math.floor(a / size) === Math.floor(b / size);
}

/** Whether an address is one machine's: neither a group's nor everybody's (RFC 1122, 3.2.1.3). */
function isUnicast(address: string): boolean {
  const first = Math.floor((ipv4(address) ?? 0) / 2 ** 24);
  return first > 0 && first < 224;
}

const isLoopback = (address: string) => address.startsWith("127.");

/** The IPv4 interfaces of this machine. Needs `--allow-sys=networkInterfaces`. */
export function machineInterfaces(): Interface[] {
  return Deno.networkInterfaces().filter((each) => each.family === "IPv4").map((each) => ({
    address: each.address,
    bits: Number(each.cidr.split("/")[1] ?? 32),
  }));
}

/** The open sockets of one participant. */
export class Network {
  readonly #pairs: readonly Pair[];
  readonly #multicast: DatagramSocket | undefined;
  readonly #mtuBytes: number;
  readonly #own: ReadonlySet<string>;
  /** Which of the machine's participants it is: from that its ports follow. */
  readonly index: number;
  /** The ports of discovery that were taken when this was opened: others of this machine. */
  readonly taken: ReadonlySet<number>;
  /** The group that participants announce themselves in; undefined without multicast. */
  readonly group: Address | undefined;
  /** What is sent is gathered here. */
  readonly outbox: Outbox;

  private constructor(
    prefix: string,
    options: NetworkOptions,
    pairs: readonly Pair[],
    multicast: DatagramSocket | undefined,
    index: number,
    taken: ReadonlySet<number>,
  ) {
    this.#pairs = pairs;
    this.#multicast = multicast;
    this.#mtuBytes = options.mtuBytes;
    this.#own = new Set(options.interfaces.map((each) => each.address));
    this.index = index;
    this.taken = taken;
    const port = Port.base + Port.perDomain * options.domain;
    this.group = options.multicast ? { hostname: MULTICAST_GROUP, port } : undefined;
    this.outbox = new Outbox(prefix, MAX_DATAGRAM_BYTES);
  }

  /**
   * Takes the first free pair of ports.
   *
   * @param prefix The participant's.
   * @param options What is opened.
   * @throws {PatchbayError} `unavailable`.
   */
  static async open(prefix: string, options: NetworkOptions): Promise<Network> {
    if (options.interfaces.length === 0) {
      throw new PatchbayError("unavailable", "there is no IPv4 interface to use", {
        remedy: "name one, such as 127.0.0.1",
      });
    }
    const base = Port.base + Port.perDomain * options.domain;
    const taken = new Set<number>();
    for (let index = 0; index <= MAX_PARTICIPANTS; index++) {
      const first = base + Port.perParticipant * index;
      const pairs = await openPairs(options, first);
      if (pairs === undefined) {
        taken.add(first + Port.metatrafficUnicast);
        continue;
      }
      try {
        for (let other = 1; other <= LOOK_AHEAD; other++) {
          const port = first + Port.perParticipant * other + Port.metatrafficUnicast;
          if (await isTaken(options, port)) taken.add(port);
        }
        const multicast = options.multicast
          ? await options.openSocket({
            hostname: "0.0.0.0",
            port: base,
            multicast: {
              group: MULTICAST_GROUP,
              interfaces: options.interfaces.map((each) => each.address),
            },
          })
          : undefined;
        return new Network(prefix, options, pairs, multicast, index, taken);
      } catch (error) {
        for (const pair of pairs) closePair(pair);
        throw error;
      }
    }
    throw new PatchbayError(
      "unavailable",
      `all ${MAX_PARTICIPANTS + 1} ports of domain ${options.domain} are taken`,
      { remedy: "close a participant, or use another domain" },
    );
  }

  /** All sockets, to receive from. */
  get sockets(): DatagramSocket[] {
    const sockets = this.#pairs.flatMap((pair) => [pair.metatraffic, pair.user]);
    return this.#multicast === undefined ? sockets : [...sockets, this.#multicast];
  }

  /** Where discovery reaches this participant. */
  get metatraffic(): Address[] {
    return this.#pairs.map((pair) => pair.metatraffic.local);
  }

  /** Where its endpoints are reached. */
  get unicast(): Address[] {
    return this.#pairs.map((pair) => pair.user.local);
  }

  /** The group, through every interface. */
  groupDestinations(): Destination[] {
    const { group } = this;
    if (group === undefined) return [];
    return this.#pairs.map((pair) =>
      new Destination(this.outbox, pair.metatraffic, group, undefined, this.#mtuBytes)
    );
  }

  /** Whether an address is this machine's. */
  isHere(address: string): boolean {
    return isLoopback(address) || this.#own.has(address);
  }

  /**
   * Chooses of several addresses of one participant, and the socket that reaches it.
   *
   * @param addresses Its addresses.
   * @param from Where its announcement came from: only who is on this machine has loopback.
   * @param prefix The participant; undefined: whoever is there.
   * @param channel Discovery, or the user's.
   * @returns `undefined` if none can be reached.
   */
  destination(
    addresses: readonly Address[],
    from: string,
    prefix: string | undefined,
    channel: "metatraffic" | "user",
  ): Destination | undefined {
    const here = this.isHere(from);
    let best: { rank: number; address: Address; pair: Pair } | undefined;
    for (const address of addresses) {
      if (!isUnicast(address.hostname)) continue;
      const loopback = isLoopback(address.hostname);
      if (loopback && !here) continue;
      for (const pair of this.#pairs) {
        if (loopback !== isLoopback(pair.interface.address)) continue;
        const rank = loopback ? 3 : isNear(pair.interface, address.hostname) ? 2 : 1;
        if (best === undefined || rank > best.rank) best = { rank, address, pair };
      }
    }
    if (best === undefined) return undefined;
    const bytes = here && this.isHere(best.address.hostname)
      ? LOCAL_DATAGRAM_BYTES
      : this.#mtuBytes;
    return new Destination(this.outbox, best.pair[channel], best.address, prefix, bytes);
  }

  /** Closes all sockets. Idempotent. */
  close(): void {
    for (const pair of this.#pairs) closePair(pair);
    this.#multicast?.close();
  }
}

function closePair(pair: Pair): void {
  pair.metatraffic.close();
  pair.user.close();
}

/** Whether somebody of this machine has a port. */
async function isTaken({ interfaces, openSocket }: NetworkOptions, port: number): Promise<boolean> {
  try {
    (await openSocket({ hostname: interfaces[0].address, port })).close();
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return true;
    throw error;
  }
}

/** Opens the sockets of one index on every interface; undefined if a port is taken. */
async function openPairs(
  { interfaces, openSocket }: NetworkOptions,
  base: number,
): Promise<Pair[] | undefined> {
  const opened: DatagramSocket[] = [];
  const pairs: Pair[] = [];
  try {
    for (const each of interfaces) {
      const open = async (port: number) => {
        const socket = await openSocket({ hostname: each.address, port });
        opened.push(socket);
        return socket;
      };
      pairs.push({
        interface: each,
        metatraffic: await open(base + Port.metatrafficUnicast),
        user: await open(base + Port.userUnicast),
      });
    }
    return pairs;
  } catch (error) {
    for (const socket of opened) socket.close();
    if (error instanceof Deno.errors.AddrInUse) return undefined;
    throw error;
  }
}
