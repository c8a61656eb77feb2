/**
 * A module's comm over the bus: frames are raw messages at `frame/<name>`, one address for each
 * type, so that the manager passes each on to those who listen for it and to nobody else.
 *
 * @module
 */

import {
  type Bay,
  type BytesView,
  defineSpeaker,
  type EventContext,
  type Listener,
  open,
  PatchbayError,
  type ShoutOptions,
  type Speaker,
  UNKEPT_HEADER,
} from "@patchbay/core";
import { DEFAULT_PORT } from "./address.ts";
import {
  ALL_FRAMES,
  type AskOptions,
  type Comm,
  type CommStatistics,
  type ListenForOptions,
  Priority,
} from "./comm.ts";
import { FrameInbox, type InboxOverflow } from "./frame_inbox.ts";
import type { FrameClass, FrameSet, FrameValue } from "./frames/frame.ts";
import { MissingFrames } from "./missing_frames.ts";
import { knownType, stopped } from "./mock_comm.ts";
import { type BusExtras, type BusPlugin, createBus } from "./plugin.ts";
import { BodyReader, BodyWriter } from "./frame_bodies.ts";
import { ReceivedFrame } from "./received_frame.ts";

/** How to join a bus. */
export interface BusCommOptions {
  /** The module's name. */
  readonly module: string;
  /** The definitions; the manager refuses a module whose definitions differ. */
  readonly frames: FrameSet;
  /** The manager: `tcp://host:port` or `unix:/path`. Default `tcp://127.0.0.1:5000`. */
  readonly url?: string;
  /** The secret that modules and manager share, if there is one. */
  readonly token?: string;
  /** How many frames may wait here, and at the manager for this module. Default 256. */
  readonly maxQueue?: number;
  /** What happens to one more. Default `drop_oldest`. */
  readonly overflow?: InboxOverflow;
  /**
   * Told what nobody awaits: a callback that threw, a frame that cannot be read; that the manager is
   * not there, and when it is, how many frames have reached nobody meanwhile. Default: the console.
   */
  readonly onReport?: (error: PatchbayError) => void;
  /** The longest pause before the manager is dialled again, in milliseconds. Default 500. */
  readonly reconnectMaxMs?: number;
}

/** Frames that may wait for the announcement of their type. */
const MAX_EARLY = 1024;
/** A request takes the place of no last value. */
const NOT_KEPT: Readonly<Record<string, string>> = { [UNKEPT_HEADER]: "1" };

/** The address of a frame type. */
export function frameAddress(frame: FrameClass): string {
  return `frame/${frame.frameName.toLowerCase()}`;
}

/** What one type has of its own: how it is sent and heard. */
interface Line {
  readonly frame: FrameClass;
  speaker: Speaker<Uint8Array> | undefined;
  announcing: Promise<void> | undefined;
  early: number;
  /** How it is heard, once somebody has listened or asked for it. */
  ear: Ear | undefined;
  wanted: boolean;
  readonly missing: MissingFrames;
}

/** One listener of a type. */
interface Ear {
  /** Whether it gets last values. */
  readonly retained: boolean;
  readonly ready: Promise<Listener<BytesView>>;
}

function toConsole({ message, remedy }: PatchbayError): void {
  console.error(`bus: ${message}${remedy === undefined ? "" : `. Try: ${remedy}`}`);
}

/**
 * A module on a bus.
 *
 * The manager need not be there yet, and may come back: the module joins when it can.
 */
export class BusComm implements Comm {
  /** The module's bay: calls, shouts and jobs go over the same connection. */
  readonly bay: Bay<readonly [BusPlugin]>;
  readonly #extras: BusExtras;
  readonly #frames: FrameSet;
  readonly #inbox: FrameInbox;
  readonly #maxQueue: number;
  readonly #overflow: InboxOverflow;
  readonly #report: (error: PatchbayError) => void;
  readonly #lines: Line[] = [];
  readonly #writer = new BodyWriter();
  readonly #reader = new BodyReader();
  #sent = 0;
  #unsent = 0;
  /** Why the bus took nothing, when that was reported last. */
  #refusal: string | undefined;
  #stopping: Promise<void> | undefined;
  /** Since the manager is not there: when, and how many frames had reached nobody before. */
  #absence: { readonly sinceMs: number; readonly unsent: number } | undefined;

  private constructor(
    bay: Bay<readonly [BusPlugin]>,
    extras: BusExtras,
    options: BusCommOptions,
    report: (error: PatchbayError) => void,
  ) {
    const { frames, maxQueue = 256, overflow = "drop_oldest" } = options;
    this.bay = bay;
    this.#extras = extras;
    this.#frames = frames;
    this.#maxQueue = maxQueue;
    this.#overflow = overflow;
    this.#report = report;
    this.#inbox = new FrameInbox(maxQueue, overflow, report);
  }

  /**
   * Joins a bus.
   *
   * @param options Who, where, which frames.
   */
  static async open(options: BusCommOptions): Promise<BusComm> {
    const { module, frames, url = `tcp://127.0.0.1:${DEFAULT_PORT}`, token } = options;
    const report = options.onReport ?? toConsole;
    let comm: BusComm | undefined;
    const bus = createBus({
      frames,
      onManager(state, error) {
        if (comm !== undefined) comm.#managerIs(state, error);
      },
    });
    const bay = await open({
      module,
      plugins: [bus] as const,
      config: { bus: { url, token, reconnectMaxMs: options.reconnectMaxMs ?? 500 } },
      onReport: report,
    });
    return comm = new BusComm(bay, bay.transport(bus), options, report);
  }

  /** As {@link Comm.listenFor}. */
  async listenFor(
    types: readonly number[] | typeof ALL_FRAMES,
    { retained = false }: ListenForOptions = {},
  ): Promise<void> {
    const wanted = types === ALL_FRAMES
      ? [...this.#frames.byName.values()]
      : types.map((type) => knownType(this.#frames, type));
    await Promise.all(wanted.map(async (frame) => {
      const line = this.#line(frame);
      const first = !line.wanted;
      line.wanted = true;
      await this.#hear(line, retained && first);
    }));
  }

  /** As {@link Comm.acceptsFrame}. */
  acceptsFrame(type: number): boolean {
    return this.#lines[type]?.wanted === true;
  }

  /** As {@link Comm.hasData}. */
  hasData(): boolean {
    return this.#inbox.length > 0;
  }

  /** As {@link Comm.pending}. */
  get pending(): number {
    return this.#inbox.length;
  }

  /** As {@link Comm.taken}. */
  get taken(): number {
    return this.#inbox.taken;
  }

  /** As {@link Comm.arrival}. */
  arrival(): Promise<boolean> {
    return this.#inbox.arrival();
  }

  /** As {@link Comm.getData}. */
  getData(): ReceivedFrame {
    return this.#inbox.takeOrThrow();
  }

  /** As {@link Comm.onFrame}. */
  onFrame(callback: ((frame: ReceivedFrame) => void | Promise<void>) | undefined): void {
    this.#inbox.onFrame(callback);
  }

  /** As {@link Comm.send}. */
  send(frame: FrameValue, priority: Priority = Priority.NORMAL): void | Promise<void> {
    const found = knownType(this.#frames, (frame.constructor as unknown as FrameClass).type);
    return this.#shout(this.#line(found), this.#writer.write(frame), priority);
  }

  /** As {@link Comm.request}. */
  request(
    type: number | FrameClass,
    priority: Priority = Priority.NORMAL,
  ): void | Promise<void> {
    const found = knownType(this.#frames, typeof type === "number" ? type : type.type);
    return this.#shout(this.#line(found), this.#writer.write(undefined), priority, NOT_KEPT);
  }

  /** As {@link Comm.ask}. */
  async ask<T extends FrameValue>(type: FrameClass<T>, options: AskOptions = {}): Promise<T> {
    if (this.#stopping !== undefined) throw stopped();
    const line = this.#line(knownType(this.#frames, type.type));
    const answer = this.#inbox.answer(type, options);
    answer.catch(() => {}); // Awaited below, unless asking fails first.
    await this.#hear(line, false);
    await this.request(type, options.priority);
    return await answer;
  }

  /** As {@link Comm.statistics}. */
  statistics(): CommStatistics {
    const { received, dropped } = this.#inbox;
    const gap = this.#lines.reduce((sum, { missing }) => sum + missing.count, 0);
    return {
      sent: this.#sent,
      received,
      dropped: gap === 0 ? dropped : { ...dropped, gap },
      unsent: this.#unsent,
      reconnections: this.bay.statistics.transport("bus").reconnections,
    };
  }

  /** As {@link Comm.stop}. */
  stop(): Promise<void> {
    return this.#stopping ??= (async () => {
      this.#inbox.close();
      await this.bay.close();
    })();
  }

  /** As {@link stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Frames as they come, until the comm stops. */
  [Symbol.asyncIterator](): AsyncIterator<ReceivedFrame> {
    return this.#inbox.frames();
  }

  #line(frame: FrameClass): Line {
    return this.#lines[frame.type] ??= {
      frame,
      speaker: undefined,
      announcing: undefined,
      early: 0,
      ear: undefined,
      wanted: false,
      missing: new MissingFrames(),
    };
  }

  #shout(
    line: Line,
    body: Uint8Array,
    priority: Priority,
    headers?: Readonly<Record<string, string>>,
  ): void | Promise<void> {
    if (this.#stopping !== undefined) throw stopped();
    if (line.speaker !== undefined && line.announcing === undefined) {
      return this.#out(line.speaker, body, { priority, headers });
    }
    if (line.early >= MAX_EARLY) {
      throw new PatchbayError("overloaded", `${line.frame.frameName}: ${MAX_EARLY} frames wait`, {
        remedy: "await the first comm.send() of each type",
      });
    }
    line.early++;
    line.announcing ??= this.#announce(line);
    const sending = line.announcing.then(() => {
      line.early--;
      if (line.early === 0) line.announcing = undefined;
      return this.#out(line.speaker!, body, { priority, headers });
    });
    // Nobody need await it: a module that sends and stops must not die of an unhandled rejection.
    sending.catch(() => this.#unsent++);
    return sending;
  }

  async #announce(line: Line): Promise<void> {
    try {
      line.speaker = await this.bay.speaker(
        defineSpeaker<Uint8Array>({
          address: frameAddress(line.frame),
          codec: "raw",
          retain: true,
        }),
      );
    } catch (error) {
      line.announcing = undefined;
      line.early = 0;
      this.#refused(PatchbayError.fromThrown(error));
      throw error;
    }
  }

  /** The manager has come or gone: told once each time, and what was lost meanwhile. */
  #managerIs(state: "away" | "there" | "lost", error?: PatchbayError): void {
    if (this.#stopping !== undefined) return;
    const [where] = this.#extras.where;
    const absence = this.#absence;
    if (state === "there") {
      this.#absence = undefined;
      if (absence === undefined) return;
      const unsent = this.#unsent - absence.unsent;
      const awayMs = Math.round(performance.now() - absence.sinceMs);
      const cost = unsent === 0 ? "" : `; ${unsent} frames sent meanwhile have reached nobody`;
      const what = `the manager at ${where} is there, after ${awayMs} ms${cost}`;
      this.#report(new PatchbayError("unavailable", what, { details: { unsent, awayMs } }));
    } else if (absence === undefined) {
      this.#absence = { sinceMs: performance.now(), unsent: this.#unsent };
      const what = state === "away"
        ? error?.message
        : `the manager at ${where} was lost: ${error?.message}`;
      const message = `${what}; it is joined as soon as it is there`;
      this.#report(
        new PatchbayError("unavailable", message, { remedy: error?.remedy, cause: error }),
      );
    }
  }

  /** The bus does not take what is sent: told once, not with each frame. */
  #refused(error: PatchbayError): void {
    if (this.#stopping !== undefined || error.message === this.#refusal) return;
    this.#refusal = error.message;
    this.#report(error);
  }

  #out(
    speaker: Speaker<Uint8Array>,
    body: Uint8Array,
    options: ShoutOptions,
  ): void | Promise<void> {
    this.#sent++;
    if (!this.#extras.connected) this.#unsent++;
    return speaker.shout(body, options);
  }

  async #hear(line: Line, retained: boolean): Promise<void> {
    const before = line.ear;
    if (before !== undefined && (before.retained || !retained)) return void await before.ready;
    const ear = line.ear = this.#listen(line, retained);
    try {
      await ear.ready;
    } catch (error) {
      if (line.ear === ear) line.ear = before;
      throw error;
    }
    // A question had opened it, which did not want last values; it got its answers until now.
    if (before !== undefined) await (await before.ready).close();
  }

  #listen(line: Line, retained: boolean): Ear {
    const ear: Ear = {
      retained,
      ready: this.bay.listen(
        frameAddress(line.frame),
        (body, context) => this.#arrived(line, body, context, ear === line.ear),
        { overflow: this.#overflow, maxQueue: this.#maxQueue, retained, views: true },
      ),
    };
    return ear;
  }

  /** @param current Whether it came by the listener that counts; another one serves questions only. */
  #arrived(line: Line, body: BytesView, context: EventContext, current: boolean): void {
    const { origin, sequence, priority, retained, peer } = context;
    if (current && !retained) line.missing.came(origin, sequence);
    let value: FrameValue | undefined;
    try {
      value = this.#reader.read(line.frame, body);
    } catch (error) {
      this.#inbox.drop("undecodable");
      return this.#report(PatchbayError.fromThrown(error));
    }
    // Who asked then has gone, or has its answer: a sender that does not mark its requests.
    if (retained && value === undefined) return this.#inbox.drop("old_request");
    const from = { module: peer?.module ?? "", priority, retained };
    this.#inbox.push(new ReceivedFrame(line.frame, value, from), line.wanted && current);
  }
}
