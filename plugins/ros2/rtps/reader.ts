/**
 * A reader: takes the samples of every matched writer in order, hands them over or keeps them, and
 * watches deadlines and the life of writers.
 *
 * @module
 */

import type { TimerWheel } from "@patchbay/core";
import { CatchUp } from "./catch_up.ts";
import { Pid, Status } from "./constants.ts";
import type { EndpointData } from "./discovery_data.ts";
import type { LossReason, Reader, ReaderEvents, ReaderStatistics, Sample } from "./endpoints.ts";
import { hex, prefixOf } from "./guid.ts";
import type { Bits, DataSubmessage, Incoming } from "./message_reader.ts";
import type { Destination } from "./outbox.ts";
import type { Mismatch } from "./qos.ts";
import { FragmentMemory } from "./reassembly.ts";
import { hasPlaceFor } from "./matching.ts";
import { Alarm, LAST_CALL_MS } from "./timers.ts";
import { type Arrived, WriterProxy, type WriterProxyOwner } from "./writer_proxy.ts";

/** What a reader is made with. */
export interface ReaderSetup extends ReaderEvents {
  readonly data: EndpointData;
  readonly entity: number;
  readonly keyed: boolean;
  /** Finds the key hash where the writer does not send it. */
  readonly keyOf?: (payload: Uint8Array) => string;
  readonly maxSampleBytes: number;
  readonly maxHeldBytes: number;
  /** How many samples are kept for `take()` at most, in all. */
  readonly maxSamples: number;
  readonly wheel: TimerWheel;
  readonly report: (error: unknown) => void;
  readonly closed: (reader: RtpsReader) => void;
}

/** How many instances' deadlines are watched. */
const MAX_DEADLINES = 4096;

/** A writer that promises a sign of life more often is not watched more closely. */
const LEAST_LEASE_MS = 50;

/** One reader. */
export class RtpsReader implements Reader, WriterProxyOwner {
  readonly #setup: ReaderSetup;
  readonly #proxies = new Map<string, WriterProxy>();
  readonly #kept: Sample[] = [];
  readonly #perInstance = new Map<string, number>();
  readonly #deadlines = new Map<string, Alarm>();
  readonly #losses: Partial<Record<LossReason, number>> = {};
  readonly #leaseAlarm: Alarm;
  readonly #catchUps = new Set<CatchUp>();
  #received = 0;
  #keptBytes = 0;
  #closed = false;
  /** What it says of itself. */
  readonly data: EndpointData;
  /** Its entity id. */
  readonly entity: number;
  /** As `WriterProxyOwner`. */
  readonly wheel: TimerWheel;
  /** As `WriterProxyOwner`. */
  readonly memory: FragmentMemory = new FragmentMemory();
  /** As `WriterProxyOwner`. */
  readonly maxSampleBytes: number;
  /** As `WriterProxyOwner`. */
  readonly maxHeldBytes: number;
  /** As `WriterProxyOwner`: how many bytes wait for what is missing. */
  heldBytes = 0;

  /** @param setup By the participant. */
  constructor(setup: ReaderSetup) {
    this.#setup = setup;
    this.data = setup.data;
    this.entity = setup.entity;
    this.wheel = setup.wheel;
    this.maxSampleBytes = setup.maxSampleBytes;
    this.maxHeldBytes = setup.maxHeldBytes;
    this.#leaseAlarm = new Alarm(setup.wheel, () => this.#checkLeases());
  }

  /** The topic. */
  get topic(): string {
    return this.data.topic;
  }

  /** The writers that are matched. */
  get matched(): EndpointData[] {
    return Array.from(this.#proxies.values(), (proxy) => proxy.remote);
  }

  /** Counters. */
  get statistics(): ReaderStatistics {
    return {
      received: this.#received,
      losses: { ...this.#losses },
      heldBytes: this.heldBytes,
    };
  }

  /** Takes the oldest sample that was kept. */
  take(): Sample | undefined {
    const sample = this.#kept.shift();
    if (sample === undefined) return undefined;
    this.#keptBytes -= sample.payload.length;
    const left = (this.#perInstance.get(sample.key) as number) - 1;
    if (left === 0) this.#perInstance.delete(sample.key);
    else this.#perInstance.set(sample.key, left);
    // A reader that keeps all has held its writers back.
    if (this.data.qos.history === "keep_all") {
      for (const proxy of this.#proxies.values()) proxy.resume();
      this.#look();
    }
    return sample;
  }

  /** As `Reader`. */
  untilComplete(timeoutMs: number, participant = ""): Promise<boolean> {
    const proxies = [...this.#proxies.values()].filter(({ reliable, remote }) =>
      reliable && remote.guid.startsWith(participant)
    );
    if (proxies.length === 0) return Promise.resolve(!this.#closed);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const catchUp = new CatchUp(this.wheel, proxies, timeoutMs, (complete) => {
      this.#catchUps.delete(catchUp);
      resolve(complete);
    });
    this.#catchUps.add(catchUp);
    return promise;
  }

  /** Looks whether those who wait have everything now. */
  #look(): void {
    for (const each of this.#catchUps) each.look();
  }

  /** As `WriterProxyOwner`. */
  count(reason: LossReason, samples: number): void {
    this.#losses[reason] = (this.#losses[reason] ?? 0) + samples;
    this.#tell(() => this.#setup.onLost?.(reason, samples));
  }

  /** As `WriterProxyOwner`. */
  makeRoom(proxy: WriterProxy, bytes: number): boolean {
    // Beyond what may wait, what is next has a place: of one writer at least, whatever else waits.
    const most = this.maxHeldBytes + 2 * this.maxSampleBytes - bytes;
    while (this.heldBytes > most) {
      const held = new Map<string, number>();
      for (const { heldBytes, remote } of this.#proxies.values()) {
        const prefix = prefixOf(remote.guid);
        if (heldBytes > 0) held.set(prefix, (held.get(prefix) ?? 0) + heldBytes);
      }
      const [prefix] = [...held].reduce((a, b) => b[1] > a[1] ? b : a, ["", 0]);
      let largest: WriterProxy | undefined;
      for (const each of this.#proxies.values()) {
        if (each === proxy || prefixOf(each.remote.guid) !== prefix) continue;
        if (each.heldBytes > (largest?.heldBytes ?? 0)) largest = each;
      }
      if (largest === undefined) return false;
      largest.yield();
    }
    return true;
  }

  /** As `WriterProxyOwner`. */
  deliver(proxy: WriterProxy, arrived: Arrived): boolean {
    const { onSample } = this.#setup;
    if (onSample === undefined && !this.#hasRoom()) return false;
    this.#isAlive(proxy);
    const { lifespanMs } = proxy.remote.qos;
    const { timestampMs, status } = arrived;
    if (
      lifespanMs !== Infinity && timestampMs !== undefined && Date.now() > timestampMs + lifespanMs
    ) {
      this.count("expired", 1);
      return true;
    }
    const state = (status & Status.disposed) !== 0
      ? "disposed"
      : (status & Status.unregistered) !== 0
      ? "unregistered"
      : "alive";
    if (state === "alive" && arrived.holds !== "data") return true;
    const sample: Sample = {
      payload: arrived.payload,
      state,
      key: this.#keyOf(arrived),
      sequence: arrived.sequence,
      writer: proxy.remote,
      timestampMs,
      historical: this.data.qos.durability !== "volatile" &&
        proxy.remote.qos.durability !== "volatile" && proxy.isHistory(arrived.sequence),
      inline: arrived.inline,
    };
    this.#received++;
    this.#armDeadline(sample);
    if (onSample !== undefined) this.#tell(() => onSample.call(this.#setup, sample));
    else this.#keep(sample);
    return true;
  }

  #hasRoom(): boolean {
    const { history } = this.data.qos;
    return history === "keep_last" ||
      this.#kept.length < this.#setup.maxSamples && this.#keptBytes < this.maxHeldBytes;
  }

  #keep(sample: Sample): void {
    const { history, depth } = this.data.qos;
    const isFull = () =>
      this.#kept.length > 0 &&
      (this.#kept.length >= this.#setup.maxSamples ||
        this.#keptBytes + sample.payload.length > this.maxHeldBytes);
    let kept = this.#perInstance.get(sample.key) ?? 0;
    while (history === "keep_last" && (kept >= depth || isFull())) {
      const oldest = kept >= depth ? this.#kept.findIndex((each) => each.key === sample.key) : 0;
      const [dropped] = this.#kept.splice(oldest, 1);
      this.#keptBytes -= dropped.payload.length;
      const left = (this.#perInstance.get(dropped.key) as number) - 1;
      if (left === 0) this.#perInstance.delete(dropped.key);
      else this.#perInstance.set(dropped.key, left);
      kept = this.#perInstance.get(sample.key) ?? 0;
      this.count("overflow", 1);
    }
    this.#keptBytes += sample.payload.length;
    this.#perInstance.set(sample.key, (this.#perInstance.get(sample.key) ?? 0) + 1);
    this.#kept.push({ ...sample, payload: sample.payload.slice() });
    this.#tell(() => this.#setup.onAvailable?.());
  }

  #keyOf(arrived: Arrived): string {
    if (!this.#setup.keyed) return "";
    const hash = arrived.inline?.get(Pid.keyHash);
    if (hash !== undefined && hash.length === 16) return hex(hash);
    const { keyOf } = this.#setup;
    if (keyOf === undefined || arrived.holds === "nothing") return "";
    try {
      return keyOf(arrived.payload);
    } catch (error) {
      this.#setup.report(error);
      return "";
    }
  }

  #armDeadline({ key, state }: Sample): void {
    const { deadlineMs } = this.data.qos;
    if (deadlineMs === Infinity) return;
    let alarm = this.#deadlines.get(key);
    if (state !== "alive") {
      alarm?.disarm();
      this.#deadlines.delete(key);
      return;
    }
    if (alarm === undefined) {
      if (this.#deadlines.size >= MAX_DEADLINES) return;
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

  /** A writer was found that fits. */
  match(remote: EndpointData, vendor: number, destination: Destination): void {
    if (this.#closed || this.#proxies.has(remote.guid)) return;
    const reliable = remote.qos.reliability === "reliable" &&
      this.data.qos.reliability === "reliable";
    const proxy = new WriterProxy(this, remote, vendor, reliable, destination);
    this.#proxies.set(remote.guid, proxy);
    proxy.greet();
    this.#checkLeases();
    this.#tell(() => this.#setup.onMatched?.(remote));
  }

  /** Whether everything has come that a writer, if it is matched, has spoken of. */
  isCompleteFrom(guid: string): boolean {
    return this.#proxies.get(guid)?.complete ?? true;
  }

  /** Whether a writer can be matched beside those of the same participant. */
  hasPlaceFor(guid: string): boolean {
    return hasPlaceFor(guid, this.#proxies);
  }

  /** A matched writer has gone. */
  unmatch(guid: string): void {
    const proxy = this.#proxies.get(guid);
    if (proxy === undefined) return;
    this.#proxies.delete(guid);
    proxy.close();
    for (const each of this.#catchUps) each.gone(proxy);
    if (proxy.alive) this.#tell(() => this.#setup.onLiveliness?.(proxy.remote, false));
    this.#tell(() => this.#setup.onUnmatched?.(proxy.remote));
  }

  /** A writer was found that does not fit. */
  mismatched(remote: EndpointData, policies: readonly Mismatch[]): void {
    this.#tell(() => this.#setup.onMismatch?.(remote, policies));
  }

  /** A participant's writers of some kind have given a sign of life. */
  assertAlive(prefix: string, kind: "automatic" | "manual_by_participant"): void {
    for (const proxy of this.#proxies.values()) {
      if (proxy.remote.guid.startsWith(prefix) && proxy.remote.qos.liveliness === kind) {
        this.#isAlive(proxy);
      }
    }
  }

  #isAlive(proxy: WriterProxy): void {
    if (proxy.remote.qos.livelinessLeaseMs === Infinity) return;
    proxy.aliveMs = performance.now();
    proxy.overdueMs = undefined;
    if (proxy.alive) return;
    proxy.alive = true;
    this.#tell(() => this.#setup.onLiveliness?.(proxy.remote, true));
    this.#checkLeases();
  }

  /** Takes writers for dead whose lease is over, and arms the alarm for the next. */
  #checkLeases(): void {
    const now = performance.now();
    let soonest = Infinity;
    for (const proxy of this.#proxies.values()) {
      const { livelinessLeaseMs } = proxy.remote.qos;
      if (livelinessLeaseMs === Infinity || !proxy.alive) continue;
      let left = proxy.aliveMs + Math.max(LEAST_LEASE_MS, livelinessLeaseMs) - now;
      if (left <= 0) left = LAST_CALL_MS - (now - (proxy.overdueMs ??= now));
      if (left > 0) soonest = Math.min(soonest, left);
      else {
        proxy.alive = false;
        this.#tell(() => this.#setup.onLiveliness?.(proxy.remote, false));
      }
    }
    this.#leaseAlarm.arm(soonest);
  }

  /** From a writer. */
  receiveData(guid: string, context: Incoming, data: DataSubmessage): void {
    this.#proxies.get(guid)?.data(context, data);
    if (this.#catchUps.size > 0) this.#look();
  }

  /** From a writer. */
  receiveDataFrag(
    guid: string,
    context: Incoming,
    data: DataSubmessage,
    first: number,
    fragments: number,
    fragmentBytes: number,
    sampleBytes: number,
  ): void {
    this.#proxies.get(guid)?.dataFrag(context, data, first, fragments, fragmentBytes, sampleBytes);
    if (this.#catchUps.size > 0) this.#look();
  }

  /** From a writer. */
  receiveHeartbeat(
    guid: string,
    first: number,
    last: number,
    count: number,
    final: boolean,
    liveliness: boolean,
  ): void {
    const proxy = this.#proxies.get(guid);
    if (proxy === undefined) return;
    if (liveliness) this.#isAlive(proxy);
    proxy.heartbeat(first, last, count, final);
    if (this.#catchUps.size > 0) this.#look();
  }

  /** From a writer. */
  receiveHeartbeatFrag(guid: string, sequence: number, lastFragment: number): void {
    this.#proxies.get(guid)?.heartbeatFrag(sequence, lastFragment);
  }

  /** From a writer. */
  receiveGap(guid: string, start: number, base: number, bits: Bits): void {
    this.#proxies.get(guid)?.gap(start, base, bits);
    if (this.#catchUps.size > 0) this.#look();
  }

  /** Ends it, and tells the writers. Idempotent. What was kept can still be taken. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaseAlarm.disarm();
    for (const alarm of this.#deadlines.values()) alarm.disarm();
    for (const proxy of this.#proxies.values()) proxy.close();
    for (const each of this.#catchUps) each.end(false);
    this.#proxies.clear();
    this.#setup.closed(this);
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
