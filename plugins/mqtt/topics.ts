/**
 * How addresses become topics, and what travels beside a payload: written and read in this one file.
 *
 * MQTT 5 has properties for it. In MQTT 3.1.1 it stands behind the topic, after a level `@`:
 * `patchbay/call/arm/move/@/<bay>/<number>/from=desk&timeout=5000`.
 *
 * @module
 */

import { type Headers, PatchbayError } from "@patchbay/core";

/** The level that divides an address from what stands behind it. No address has it. */
const MARK = "/@/";
/** What the names of our own entries begin with. */
const OWN = "pb-";
/** Before a header's name that would be taken for one of ours. */
const ESCAPED = "pb-h-";
/** Before the name of a header whose value MQTT could not carry as it is. */
const CODED = "pb-e-";
/** The longest string of MQTT, in bytes. */
const MAX_STRING = 65_535;

/** What goes beside a payload: short strings by name, as MQTT 5 calls them user properties. */
export type Marks = Record<string, string>;

/** What stands behind an address in a topic. */
export interface Tail {
  /** The bay that sent it. */
  readonly bay: string;
  /** Its number; empty where there is none. */
  readonly id: string;
  /** The rest. */
  readonly marks: Marks;
}

/** A topic, read. */
export interface ReadTopic {
  /** The address. */
  readonly address: string;
  /** What stands behind it. */
  readonly tail: Tail | undefined;
}

// What a UTF-8 string of MQTT may not, or should not, hold: section 1.5.4 of MQTT 5.
// deno-lint-ignore no-control-regex
const UNFIT = /[\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]/;

function fit(text: string): boolean {
  return !UNFIT.test(text) && text.isWellFormed();
}

/**
 * Adds headers.
 *
 * @param marks What they are added to.
 * @param headers The headers.
 * @throws {PatchbayError} `too_large`.
 */
export function addHeaders(marks: Marks, headers: Headers | undefined): void {
  if (headers === undefined) return;
  for (const [name, value] of Object.entries(headers)) {
    if (value.length * 3 > MAX_STRING && new TextEncoder().encode(value).length > MAX_STRING) {
      throw new PatchbayError("too_large", `the header ${name} has more than 64 KiB`, {
        details: { size: value.length, max: MAX_STRING },
      });
    }
    if (fit(value) && fit(name)) marks[name.startsWith(OWN) ? ESCAPED + name : name] = value;
    else marks[CODED + code(name)] = code(value);
  }
}

/** The headers among what came beside a payload; `undefined` if there are none. */
export function headersOf(marks: Readonly<Record<string, unknown>>): Headers | undefined {
  let headers: Record<string, string> | undefined;
  for (const key of Object.keys(marks)) {
    let name = key;
    const given = marks[key];
    let value = typeof given === "string" ? given : Array.isArray(given) ? given.join(", ") : "";
    if (key.startsWith(OWN)) {
      if (key.startsWith(ESCAPED)) name = key.slice(ESCAPED.length);
      else if (key.startsWith(CODED)) {
        name = decode(key.slice(CODED.length));
        value = decode(value);
      } else continue;
    }
    if (name === "__proto__") continue;
    (headers ??= {})[name] = value;
  }
  return headers;
}

function code(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function writeMarks(marks: Marks): string {
  let text = "";
  for (const key of Object.keys(marks)) {
    text += `${text === "" ? "" : "&"}${code(key)}=${code(marks[key])}`;
  }
  return text;
}

function readMarks(text: string): Marks {
  const marks: Marks = {};
  for (const part of text.split("&")) {
    const at = part.indexOf("=");
    if (at > 0) marks[decode(part.slice(0, at))] = decode(part.slice(at + 1));
  }
  return marks;
}

/** The topics under one prefix, as one bay uses them. */
export class Topics {
  /** What every topic begins with, and a slash. */
  readonly begin: string;
  /** What the topics of shouts begin with. */
  readonly shouts: string;
  /** What the topics of calls begin with. */
  readonly calls: string;
  /** What the topics of presence begin with. */
  readonly bays: string;
  /** What everything that is sent to this bay begins with. */
  readonly mine: string;
  /** Where replies come in MQTT 5. */
  readonly replies: string;

  /**
   * @param prefix What they begin with.
   * @param bay The bay's id.
   */
  constructor(prefix: string, bay: string) {
    this.begin = `${prefix}/`;
    this.shouts = `${prefix}/shout/`;
    this.calls = `${prefix}/call/`;
    this.bays = `${prefix}/bay/`;
    this.mine = this.to(bay);
    this.replies = `${this.mine}reply`;
  }

  /** Where a bay says who it is. */
  bay(bay: string): string {
    return this.bays + bay;
  }

  /** What everything that is sent to a bay begins with. */
  to(bay: string): string {
    return `${this.begin}to/${bay}/`;
  }

  /** Where an address is called. */
  call(address: string): string {
    return this.calls + address;
  }

  /** Where one bay, of several that serve an address, is called. */
  callOf(bay: string, address: string): string {
    return `${this.to(bay)}call/${address}`;
  }

  /** Where is shouted. */
  shout(address: string): string {
    return this.shouts + address;
  }

  /** The bay to which replies at a topic go; `undefined` if it is a foreign topic. */
  bayOfReplies(topic: string): string | undefined {
    const begin = `${this.begin}to/`;
    if (!topic.startsWith(begin) || !topic.endsWith("/reply")) return undefined;
    const bay = topic.slice(begin.length, -6);
    return bay.includes("/") ? undefined : bay;
  }

  /**
   * A topic with what stands behind the address.
   *
   * @param topic The topic of the address.
   * @param bay The bay that sends.
   * @param id Its number; empty: none.
   * @param marks The rest.
   * @throws {PatchbayError} `too_large`.
   */
  withTail(topic: string, bay: string, id: string, marks?: Marks): string {
    let all = `${topic}${MARK}${bay}`;
    if (id !== "") all += `/${id}`;
    if (marks !== undefined) {
      const text = writeMarks(marks);
      if (text !== "") all += `/${text}`;
    }
    if (all.length > MAX_STRING) {
      throw new PatchbayError("too_large", "the headers make the topic longer than 64 KiB", {
        details: { size: all.length, max: MAX_STRING },
        remedy: "send fewer headers, or use MQTT 5",
      });
    }
    return all;
  }

  /**
   * Reads a topic that {@link withTail} has made, or one without a tail.
   *
   * @param topic The topic.
   * @param begin What stands before the address.
   */
  read(topic: string, begin: string): ReadTopic {
    const at = topic.indexOf(MARK, begin.length);
    if (at < 0) return { address: topic.slice(begin.length), tail: undefined };
    const [bay, id = "", ...rest] = topic.slice(at + MARK.length).split("/");
    return {
      address: topic.slice(begin.length, at),
      tail: { bay, id, marks: readMarks(rest.join("/")) },
    };
  }

  /**
   * What to subscribe to, to hear an address or pattern: plain, and with something behind it.
   *
   * @param pattern The address or pattern.
   */
  filters(pattern: string): readonly string[] {
    if (pattern.endsWith("**")) return [this.shouts + filterOf(pattern)];
    const plain = this.shouts + filterOf(pattern);
    return [plain, `${plain}${MARK}#`];
  }
}

/** A pattern as MQTT spells it. */
export function filterOf(pattern: string): string {
  return pattern.split("/").map((each) => each === "*" ? "+" : each === "**" ? "#" : each).join(
    "/",
  );
}

/** The filter of a shared subscription: `$share/<group>/<filter>`. */
export function withoutGroup(filter: string): string {
  return filter.startsWith("$share/") ? filter.slice(filter.indexOf("/", 7) + 1) : filter;
}

/**
 * Whether a topic belongs to a filter. A leading wildcard does not stand for `$…`.
 *
 * @param filter The filter, without `$share/<group>/`.
 * @param topic The topic.
 * @see https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html section 4.7
 */
export function topicMatches(filter: string, topic: string): boolean {
  if (filter === topic) return true;
  if (!filter.includes("#") && !filter.includes("+")) return false;
  const want = filter.split("/");
  const have = topic.split("/");
  if (topic.startsWith("$") && (want[0] === "#" || want[0] === "+")) return false;
  for (let i = 0; i < want.length; i++) {
    if (want[i] === "#") return have.length >= i;
    if (i >= have.length || (want[i] !== "+" && want[i] !== have[i])) return false;
  }
  return want.length === have.length;
}
