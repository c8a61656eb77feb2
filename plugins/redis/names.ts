/**
 * How addresses become keys and channels of Redis; written and read in this one file.
 *
 * The first segment of an address is the hash tag, so that in a cluster everything of one module
 * lies on one node: `arm/move` is called at `patchbay:call:{arm}/move`.
 *
 * @module
 */

import { isPattern } from "@patchbay/core";

/** How the content types that travel in a channel's name are spelt there. */
const TYPE_LETTERS: Readonly<Record<string, string>> = { json: "j", msgpack: "m", raw: "r" };
const LETTER_TYPES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(TYPE_LETTERS).map(([name, letter]) => [letter, name]),
);

/** What the name of a channel says about a shout. */
export interface ShoutName {
  /** Where it was shouted. */
  readonly address: string;
  /** The id of the bay that shouted; empty if a foreign program did. */
  readonly origin: string;
  /** Its number; 0 if a foreign program shouted. */
  readonly sequence: number;
  /** The name of the codec; `undefined`: JSON, or what the contract says. */
  readonly codec: string | undefined;
}

function tagged(address: string): string {
  const slash = address.indexOf("/");
  return slash < 0 ? `{${address}}` : `{${address.slice(0, slash)}}${address.slice(slash)}`;
}

/** The part of an address that decides on its node in a cluster. */
export function moduleOf(address: string): string {
  const slash = address.indexOf("/");
  return slash < 0 ? address : address.slice(0, slash);
}

/** Reads the channels of shouts. Most differ from the one before in their number alone. */
export class ShoutReader {
  readonly #names: Names;
  #last: Uint8Array = new Uint8Array(0);
  /** How many bytes of the last channel come before its number; 0: it has none. */
  #head = 0;
  #name: ShoutName | undefined;

  /** @param names The names. */
  constructor(names: Names) {
    this.#names = names;
  }

  /**
   * What a channel's name says; `undefined` if it is none of ours.
   *
   * @param channel The name, in bytes.
   */
  read(channel: Uint8Array): ShoutName | undefined {
    const head = this.#head;
    const known = this.#name;
    if (known !== undefined && head > 0 && channel.length > head + 2 && this.#begins(channel)) {
      let sequence = 0;
      let at = head;
      for (; at < channel.length; at++) {
        const digit = channel[at] - 48;
        if (digit < 0 || digit > 9) break;
        sequence = sequence * 10 + digit;
      }
      // A colon, and the letter that the last one had, too.
      const { length } = channel;
      const { length: before } = this.#last;
      if (
        at > head && at === length - 2 && channel[at] === 58 && at - head < 16 &&
        channel[length - 1] === this.#last[before - 1] && this.#last[before - 2] === 58
      ) {
        return { address: known.address, origin: known.origin, sequence, codec: known.codec };
      }
    }
    const text = new TextDecoder().decode(channel);
    const name = this.#names.readShout(text);
    this.#name = name;
    // A copy: what was read may lie in a buffer that is used again.
    this.#last = new Uint8Array(channel);
    this.#head = 0;
    if (name !== undefined && name.sequence > 0) {
      const end = text.lastIndexOf(":");
      this.#head = text.lastIndexOf(":", end - 1) + 1;
    }
    return name;
  }

  #begins(channel: Uint8Array): boolean {
    const last = this.#last;
    for (let i = this.#head - 1; i >= 0; i--) if (channel[i] !== last[i]) return false;
    return true;
  }
}

/** The names under one prefix. */
export class Names {
  readonly #prefix: string;
  /** Where it is told who serves, speaks and listens. */
  readonly presence: string;
  /** The set of all addresses that have a log. */
  readonly logs: string;
  /** The hash of all listeners: `bay:number` and its pattern. */
  readonly listeners: string;
  /** The set of all addresses whose last value is kept. */
  readonly kept: string;

  /** @param prefix What all names begin with, without the colon. */
  constructor(prefix: string) {
    this.#prefix = prefix;
    this.presence = `${prefix}:presence`;
    this.logs = `${prefix}:logs`;
    this.listeners = `${prefix}:listeners`;
    this.kept = `${prefix}:kept`;
  }

  /** The stream of calls to an address. */
  calls(address: string): string {
    return `${this.#prefix}:call:${tagged(address)}`;
  }

  /** The hash of those who serve an address: bay and what is known of it. */
  servers(address: string): string {
    return `${this.#prefix}:servers:${tagged(address)}`;
  }

  /** The hash of those who shout at an address. */
  speakers(address: string): string {
    return `${this.#prefix}:speakers:${tagged(address)}`;
  }

  /** The channel on which calls to an address are taken back. */
  cancel(address: string): string {
    return `${this.#prefix}:cancel:${address}`;
  }

  /** The set of calls to an address that were taken back not long ago. */
  cancelled(address: string): string {
    return `${this.#prefix}:cancelled:${tagged(address)}`;
  }

  /** The stream of replies to a bay. */
  replies(bay: string): string {
    return `${this.#prefix}:reply:{${bay}}`;
  }

  /** The bay of a stream of replies; `undefined` if it is a foreign one. */
  bayOfReplies(key: string): string | undefined {
    const begin = `${this.#prefix}:reply:{`;
    return key.startsWith(begin) && key.endsWith("}") ? key.slice(begin.length, -1) : undefined;
  }

  /** The key, and the channel, that are there as long as a bay lives. */
  alive(bay: string): string {
    return `${this.#prefix}:alive:{${bay}}`;
  }

  /** The stream that wakes a reader of a bay: beside the streams of a module. */
  wake(module: string, bay: string, reader: string): string {
    return `${this.#prefix}:wake:{${module}}:${bay}:${reader}`;
  }

  /** The stream that keeps the shouts at an address. */
  log(address: string): string {
    return `${this.#prefix}:log:${tagged(address)}`;
  }

  /** The hash of the last value shouted at an address. */
  last(address: string): string {
    return `${this.#prefix}:last:${tagged(address)}`;
  }

  /** The plain channel of an address: on it a foreign program shouts. */
  channel(address: string): string {
    return `${this.#prefix}:shout:${address}`;
  }

  /**
   * The channel of one shout: `patchbay:shout:arm/pose:<bay>:<number>:<codec>`.
   *
   * @param address Where.
   * @param origin The bay.
   * @param sequence The number.
   * @param codec The codec's name.
   */
  shout(address: string, origin: string, sequence: number, codec: string): string {
    const letter = TYPE_LETTERS[codec] ?? codec;
    return `${this.#prefix}:shout:${address}:${origin}:${sequence}:${letter}`;
  }

  /** What the name of a channel says; `undefined` if it is none of ours. */
  readShout(channel: string): ShoutName | undefined {
    const begin = this.#prefix.length + 7;
    if (!channel.startsWith(":shout:", this.#prefix.length)) return undefined;
    const colon = channel.indexOf(":", begin);
    if (colon < 0) {
      return { address: channel.slice(begin), origin: "", sequence: 0, codec: undefined };
    }
    const second = channel.indexOf(":", colon + 1);
    const third = channel.indexOf(":", second + 1);
    const sequence = Number(channel.slice(second + 1, third));
    if (second < 0 || third < 0 || !Number.isSafeInteger(sequence)) return undefined;
    const letter = channel.slice(third + 1);
    return {
      address: channel.slice(begin, colon),
      origin: channel.slice(colon + 1, second),
      sequence,
      codec: LETTER_TYPES[letter] ?? letter,
    };
  }

  /**
   * What to subscribe to for an address or pattern. In Redis `*` also stands for `/`: who listens
   * compares the address once more.
   *
   * @param pattern The address or pattern.
   * @param plain Whether the channels are plain: nothing but the address.
   */
  subscriptions(
    pattern: string,
    plain: boolean,
  ): { readonly channels: readonly string[]; readonly patterns: readonly string[] } {
    const channel = this.channel(pattern);
    if (!isPattern(pattern)) {
      return { channels: [channel], patterns: plain ? [] : [`${channel}:*`] };
    }
    const glob = channel.replaceAll("**", "*");
    // What ends with a star covers the ids behind the address, too.
    return { channels: [], patterns: plain || glob.endsWith("*") ? [glob] : [glob, `${glob}:*`] };
  }
}
