/**
 * A writer: numbers what is written, keeps it as long as its policies say, and sends it to every
 * matched reader.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import type { TimerWheel } from "@patchbay/core";
import { Pid } from "./constants.ts";
import type { EndpointData } from "./discovery_data.ts";
import type { WriteOptions, Writer, WriterEvents, WriterStatistics } from "./endpoints.ts";
import { unhex } from "./guid.ts";
import { type Change, History, type HistoryLimits } from "./history.ts";
import type { Bits } from "./message_reader.ts";
import { type Destination, statusInfo } from "./outbox.ts";
import { ParameterWriter } from "./parameters.ts";
import type { Mismatch } from "./qos.ts";
import { type ProxyOwner, ReaderProxy } from "./reader_proxy.ts";
import { hasPlaceFor } from "./matching.ts";
import { Alarm } from "./timers.ts";

/** What a writer is made with. */
export interface WriterSetup extends WriterEvents {
  readonly data: EndpointData;
  readonly entity: number;
  readonly keyed: boolean;
  readonly limits: HistoryLimits;
  readonly windowBytes: number;
  /** How many of the samples that are kept a late reader gets; undefined: all. */
  readonly lateSamples?: number;
  /** For how long a reader that takes nothing may hold the others back; undefined: for ever. */
  readonly stallMs?: number;
  readonly wheel: TimerWheel;
  readonly report: (error: unknown) => void;
  /** Called when it is closed. */
  readonly closed: (writer: RtpsWriter) => void;
  /** Called whenever something is written or asserted: automatic liveliness does not need it. */
  readonly alive: (writer: RtpsWriter) => void;
}

/** The first pause before a heartbeat that asks for an answer, doubled up to the longest. */
const HEARTBEAT_MIN_MS = 10;
const HEARTBEAT_MAX_MS = 100;

/** One writer. */
export class RtpsWriter implements Writer, ProxyOwner {
  readonly #setup: WriterSetup;
  readonly #proxies = new Map<string, ReaderProxy>();
  readonly #waiting: (() => void)[] = [];
  readonly #heartbeatAlarm: Alarm;
  readonly #deadlines = new Map<string, Alarm>();
  #heartbeatMs = HEARTBEAT_MIN_MS;
  #count = 0;
  #closed = false;
  #written = 0;
  #overwritten = 0;
  #expired = 0;
  #putOff = 0;
  /** What it says of itself. */
  readonly data: EndpointData;
  /** Its entity id. */
  readonly entity: number;
  /** What it keeps. */
  readonly history: History;
  /** As `ProxyOwner`. */
  readonly watchesStalls: boolean;

  /** @param setup By the participant. */
  constructor(setup: WriterSetup) {
    this.#setup = setup;
    this.data = setup.data;
    this.entity = setup.entity;
    this.watchesStalls = setup.stallMs !== undefined;
    const { data: { qos }, keyed, limits, onReleased } = setup;
    const released = onReleased === undefined
      ? undefined
      : (payload: Uint8Array) => this.#tell(() => onReleased.call(setup, payload));
    this.history = new History(qos, keyed, limits, released);
    this.#heartbeatAlarm = new Alarm(setup.wheel, () => this.#heartbeat());
  }

  /** The topic. */
  get topic(): string {
    return this.data.topic;
  }

  /** The readers that are matched. */
  get matched(): EndpointData[] {
    return Array.from(this.#proxies.values(), (proxy) => proxy.remote);
  }

  /** Counters. */
  get statistics(): WriterStatistics {
    return {
      written: this.#written,
      overwritten: this.#overwritten,
      expired: this.#expired,
      kept: this.history.size,
      putOff: this.#putOff,
    };
  }

  /** Whether every reliable reader has everything that was written. */
  get acknowledged(): boolean {
    return this.#isAcknowledged(this.history.last, "");
  }

  /** As `Writer`. */
  write(payload: Uint8Array, options: WriteOptions = {}): number {
    this.#checkKey(options.key);
    const inline = this.#inline(options, undefined);
    return this.#add(payload, false, inline, options);
  }

  /** As `Writer`. */
  end(
    key: string,
    kind: "disposed" | "unregistered" | "both",
    keyPayload: Uint8Array = new Uint8Array(0),
  ): number {
    this.#checkKey(key);
    this.#deadlines.get(key)?.disarm();
    this.#deadlines.delete(key);
    return this.#add(keyPayload, true, this.#inline({ key }, statusInfo(kind)), { key });
  }

  #checkKey(key: string | undefined): void {
    if (this.#closed) throw new PatchbayError("closed", `the writer of ${this.topic} is closed`);
    const { keyed } = this.#setup;
    if (keyed && (key === undefined || !/^[0-9a-f]{32}$/.test(key))) {
      throw new PatchbayError("invalid", `the topic ${this.topic} has a key: give its hash`, {
        remedy: "pass key, the 16 bytes of the key's hash as 32 hexadecimal digits",
      });
    }
    if (!keyed && key !== undefined) {
      throw new PatchbayError("invalid", `the topic ${this.topic} has no key`);
    }
  }

  #inline(options: WriteOptions, status: Uint8Array | undefined): Uint8Array | undefined {
    const { key, inline } = options;
    if (key === undefined && inline === undefined && status === undefined) return undefined;
    const list = new ParameterWriter(false);
    for (const [pid, value] of inline ?? []) list.bytes(pid, value);
    if (key !== undefined) list.bytes(Pid.keyHash, unhex(key));
    if (status !== undefined) list.bytes(Pid.statusInfo, status);
    return list.finish();
  }

  #add(
    payload: Uint8Array,
    isKey: boolean,
    inline: Uint8Array | undefined,
    { key = "", only, timestampMs = Date.now() }: WriteOptions,
  ): number {
    const { history } = this;
    const change: Change = {
      sequence: history.last + 1,
      payload,
      isKey,
      key,
      inline,
      timestampMs,
      only,
    };
    let given = history.add(change);
    if (given === undefined && this.#giveUpStalled()) given = history.add(change);
    if (given === undefined) {
      throw new PatchbayError(
        "overloaded",
        `the writer of ${this.topic} keeps all it wrote, and its readers are behind`,
        { details: { samples: history.size, bytes: history.bytes } },
      );
    }
    let overwritten = 0;
    for (const each of given) {
      for (const proxy of this.#proxies.values()) {
        if (proxy.needs <= each.sequence && proxy.start <= each.sequence) {
          overwritten++;
          break;
        }
      }
    }
    if (overwritten > 0) {
      this.#overwritten += overwritten;
      this.#tell(() => this.#setup.onOverwritten?.(overwritten));
    }
    this.#written++;
    if (!isKey) this.#armDeadline(key);
    this.#setup.alive(this);
    let unsatisfied = false;
    const ask = this.data.qos.history === "keep_last" && 2 * history.size >= this.data.qos.depth;
    for (const proxy of this.#proxies.values()) {
      proxy.pump();
      if (!proxy.reliable) continue;
      unsatisfied = true;
      if (ask) proxy.askForAnswer();
    }
    if (unsatisfied) {
      this.#heartbeatSoon();
    } else this.#trim();
    return change.sequence;
  }

  /** Readers that have taken nothing for long lose what is kept for them; false if there is none. */
  #giveUpStalled(): boolean {
    const { stallMs = Infinity } = this.#setup;
    const now = performance.now();
    let given = 0;
    for (const proxy of this.#proxies.values()) {
      if (proxy.stalledMs(now) >= stallMs) given += proxy.giveUp();
    }
    if (given === 0) return false;
    this.#overwritten += given;
    this.#tell(() => this.#setup.onOverwritten?.(given));
    this.#trim();
    return true;
  }

  /** As `Writer`. */
  writable(bytes = 0, key = ""): Promise<void> | undefined {
    if (this.#closed || this.#mayWrite(bytes, key)) return undefined;
    return this.#untilWritable(bytes, key);
  }

  async #untilWritable(bytes: number, key: string): Promise<void> {
    while (!this.#closed && !this.#mayWrite(bytes, key)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #mayWrite(bytes: number, key: string): boolean {
    if (this.history.hasRoom(key, bytes)) return true;
    if (this.data.qos.history === "keep_all") return false;
    // What would be pushed out is the oldest: has everybody got it?
    const { first } = this.history;
    for (const proxy of this.#proxies.values()) if (proxy.needs <= first) return false;
    return true;
  }

  /** As `Writer`. */
  untilAcknowledged(timeoutMs: number, participant = ""): Promise<boolean> {
    const { last } = this.history;
    const acknowledged = this.#until(() => this.#isAcknowledged(last, participant), timeoutMs);
    for (const proxy of this.#proxies.values()) if (!proxy.satisfied) proxy.askForAnswer();
    return acknowledged;
  }

  #isAcknowledged(last: number, participant: string): boolean {
    for (const [guid, proxy] of this.#proxies) {
      if (proxy.reliable && proxy.acked <= last && guid.startsWith(participant)) return false;
    }
    return true;
  }

  /** As `Writer`. */
  untilMatchedBy(participant: string, timeoutMs: number): Promise<boolean> {
    const isKnown = () => {
      for (const guid of this.#proxies.keys()) if (guid.startsWith(participant)) return true;
      return false;
    };
    return this.#until(isKnown, timeoutMs);
  }

  #until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise<boolean>((resolve) => {
      const end = (value: boolean) => {
        alarm.disarm();
        resolve(value);
      };
      const alarm = new Alarm(this.#setup.wheel, () => end(false));
      alarm.arm(timeoutMs);
      const look = () => {
        if (this.#closed || condition()) end(!this.#closed);
        else this.#waiting.push(look);
      };
      look();
    });
  }

  /** Says that the writer lives, where that is done by hand. */
  assertLiveliness(): void {
    this.#setup.alive(this);
    if (this.data.qos.liveliness !== "manual_by_topic") return;
    for (const proxy of this.#proxies.values()) {
      if (proxy.reliable) proxy.heartbeat(true, true);
    }
  }

  /** As `ProxyOwner`. */
  nextCount(): number {
    return ++this.#count;
  }

  /** As `ProxyOwner`. */
  putOff(): void {
    this.#putOff++;
  }

  /** As `ProxyOwner`. */
  isExpired(change: Change): boolean {
    const { lifespanMs } = this.data.qos;
    return lifespanMs !== Infinity && Date.now() > change.timestampMs + lifespanMs;
  }

  /** As `ProxyOwner`: somebody has got further. */
  progressed(): void {
    this.#trim();
    if (this.#waiting.length > 0) {
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
    for (const proxy of this.#proxies.values()) {
      if (!proxy.satisfied) return this.#heartbeatSoon();
    }
    // The alarm stays armed: to find nothing to do now and then costs less than to arm it anew for
    // each sample.
  }

  /** Forgets what nobody needs any more; a writer for late readers forgets nothing. */
  #trim(): void {
    const { lifespanMs, durability } = this.data.qos;
    if (lifespanMs !== Infinity) {
      this.#expired += this.history.trimWhile((change) => this.isExpired(change));
    }
    const { lateSamples } = this.#setup;
    if (durability !== "volatile" && lateSamples === undefined) return;
    let needed = this.history.last + 1;
    if (durability !== "volatile") needed -= lateSamples ?? 0;
    for (const proxy of this.#proxies.values()) needed = Math.min(needed, proxy.needs);
    this.history.trim(needed);
  }

  /** A reader that is dead, and asked ever more seldom, must not slow the others' repairs. */
  #heartbeatSoon(): void {
    if (!this.#heartbeatAlarm.armed || this.#heartbeatMs > HEARTBEAT_MIN_MS) {
      this.#armHeartbeat(HEARTBEAT_MIN_MS);
    }
  }

  #armHeartbeat(ms: number): void {
    this.#heartbeatMs = ms;
    this.#heartbeatAlarm.arm(ms);
  }

  #heartbeat(): void {
    let any = false;
    const now = performance.now();
    for (const proxy of this.#proxies.values()) {
      if (proxy.satisfied) continue;
      if (proxy.isDue(now)) proxy.remind(now);
      any = true;
    }
    if (any) this.#armHeartbeat(Math.min(2 * this.#heartbeatMs, HEARTBEAT_MAX_MS));
  }

  #armDeadline(key: string): void {
    const { deadlineMs } = this.data.qos;
    if (deadlineMs === Infinity) return;
    let alarm = this.#deadlines.get(key);
    if (alarm === undefined) {
      alarm = new Alarm(this.#setup.wheel, () => {
        this.#deadlines.get(key)?.arm(deadlineMs);
        this.#tell(() => this.#setup.onDeadlineMissed?.(key));
      });
      this.#deadlines.set(key, alarm);
    }
    alarm.arm(deadlineMs);
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#setup.report(error);
    }
  }

  /** A reader was found that fits. */
  match(remote: EndpointData, vendor: number, destination: Destination): void {
    if (this.#closed || this.#proxies.has(remote.guid)) return;
    const reliable = remote.qos.reliability === "reliable" &&
      this.data.qos.reliability === "reliable";
    const late = remote.qos.durability !== "volatile" && this.data.qos.durability !== "volatile";
    const proxy = new ReaderProxy(
      this,
      remote,
      vendor,
      reliable,
      destination,
      late ? this.#setup.lateSamples ?? Infinity : 0,
      this.#setup.windowBytes,
    );
    this.#proxies.set(remote.guid, proxy);
    if (reliable) proxy.askForAnswer();
    proxy.pump();
    if (reliable) this.#armHeartbeat(HEARTBEAT_MIN_MS);
    for (const resolve of this.#waiting.splice(0)) resolve();
    this.#tell(() => this.#setup.onMatched?.(remote));
  }

  /** Whether a reader, if it is matched, has everything that was written. */
  isAcknowledgedBy(guid: string): boolean {
    const proxy = this.#proxies.get(guid);
    if (proxy === undefined || !proxy.reliable) return true;
    return proxy.confirmed && proxy.acked > this.history.last;
  }

  /** Whether a reader has ever answered. */
  wasAnsweredBy(guid: string): boolean {
    return this.#proxies.get(guid)?.confirmed ?? false;
  }

  /** Whether a reader can be matched beside those of the same participant. */
  hasPlaceFor(guid: string): boolean {
    return hasPlaceFor(guid, this.#proxies);
  }

  /** A matched reader has gone. */
  unmatch(guid: string): void {
    const proxy = this.#proxies.get(guid);
    if (proxy === undefined) return;
    this.#proxies.delete(guid);
    proxy.close();
    this.progressed();
    this.#tell(() => this.#setup.onUnmatched?.(proxy.remote));
  }

  /** A reader was found that does not fit. */
  mismatched(remote: EndpointData, policies: readonly Mismatch[]): void {
    this.#tell(() => this.#setup.onMismatch?.(remote, policies));
  }

  /** From a reader. */
  receiveAckNack(guid: string, base: number, bits: Bits, count: number, final: boolean): void {
    this.#proxies.get(guid)?.acknowledge(base, bits, count, final);
  }

  /** From a reader. */
  receiveNackFrag(guid: string, sequence: number, base: number, bits: Bits, count: number): void {
    this.#proxies.get(guid)?.acknowledgeFragments(sequence, base, bits, count);
  }

  /** Ends it, and tells the readers. Idempotent. What is not yet delivered is given up. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#heartbeatAlarm.disarm();
    for (const alarm of this.#deadlines.values()) alarm.disarm();
    for (const proxy of this.#proxies.values()) proxy.close();
    this.#proxies.clear();
    for (const resolve of this.#waiting.splice(0)) resolve();
    this.#setup.closed(this);
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
