/**
 * How a bridge hears and speaks frames on one bus: listeners for what is wanted now, and speakers
 * that are announced when they are first needed.
 *
 * @module
 */

import {
  type Bay,
  defineSpeaker,
  type EventContext,
  type Listener,
  PatchbayError,
  type ShoutOptions,
  type Speaker,
} from "@patchbay/core";

/** The most messages that wait for a bridge. */
const MAX_QUEUE = 1024;
/** The most frames that wait until their speaker is announced. */
const MAX_EARLY = 256;
/** The most addresses that are spoken. */
const MAX_ADDRESSES = 1024;

/** What the ways of a bridge tell. */
export interface WayHost {
  /** A frame is not carried. */
  drop(reason: string): void;
  /** Told what nobody awaits. */
  report(error: PatchbayError): void;
}

/** What a bridge listens to on one bus. */
export class FrameEars {
  readonly #bay: Bay;
  readonly #host: WayHost;
  readonly #heard: (body: Uint8Array, context: EventContext) => void;
  readonly #ears = new Map<string, Promise<Listener<unknown>>>();

  /**
   * @param bay The bay that listens.
   * @param host Who is told.
   * @param heard Called with each frame.
   */
  constructor(
    bay: Bay,
    host: WayHost,
    heard: (body: Uint8Array, context: EventContext) => void,
  ) {
    this.#bay = bay;
    this.#host = host;
    this.#heard = heard;
  }

  /**
   * Listens to these from now on, and to nothing else.
   *
   * @param patterns Addresses and patterns.
   */
  set(patterns: ReadonlySet<string>): void {
    for (const pattern of patterns) if (!this.#ears.has(pattern)) this.#open(pattern);
    for (const [pattern, ear] of this.#ears) {
      if (patterns.has(pattern)) continue;
      this.#ears.delete(pattern);
      void ear.then((listener) => listener.close()).catch(() => {});
    }
  }

  #open(pattern: string): void {
    const ear = this.#bay.listen(pattern, (body, context) => {
      if (body instanceof Uint8Array) this.#heard(body, context);
      else this.#host.drop("undecodable");
    }, { via: ["bus"], overflow: "drop_oldest", maxQueue: MAX_QUEUE });
    this.#ears.set(pattern, ear);
    ear.catch((error) => {
      if (this.#ears.get(pattern) === ear) this.#ears.delete(pattern);
      this.#host.report(PatchbayError.fromThrown(error));
    });
  }
}

interface Voice {
  speaker: Speaker<Uint8Array> | undefined;
  waiting: [Uint8Array, ShoutOptions][];
}

/** What a bridge speaks on one bus. */
export class FrameVoices {
  readonly #bay: Bay;
  readonly #host: WayHost;
  readonly #voices = new Map<string, Voice>();

  /**
   * @param bay The bay that speaks.
   * @param host Who is told.
   */
  constructor(bay: Bay, host: WayHost) {
    this.#bay = bay;
    this.#host = host;
  }

  /** Sends one frame; at once, or when its address is announced. */
  shout(address: string, body: Uint8Array, options: ShoutOptions): void {
    const voice = this.#voices.get(address) ?? this.#announce(address);
    if (voice?.speaker !== undefined) return this.#out(voice.speaker, body, options);
    if (voice === undefined || voice.waiting.length >= MAX_EARLY) return this.#host.drop("early");
    voice.waiting.push([body, options]);
  }

  #announce(address: string): Voice | undefined {
    if (this.#voices.size >= MAX_ADDRESSES) return undefined;
    const voice: Voice = { speaker: undefined, waiting: [] };
    this.#voices.set(address, voice);
    const contract = defineSpeaker<Uint8Array>({ address, codec: "raw", retain: true });
    this.#bay.speaker(contract, { via: ["bus"] }).then((speaker) => {
      voice.speaker = speaker;
      for (const [body, options] of voice.waiting.splice(0)) this.#out(speaker, body, options);
    }, (error) => {
      this.#voices.delete(address);
      for (const _ of voice.waiting) this.#host.drop("early");
      this.#host.report(PatchbayError.fromThrown(error));
    });
    return voice;
  }

  #out(speaker: Speaker<Uint8Array>, body: Uint8Array, options: ShoutOptions): void {
    try {
      // With `drop_oldest`, as frames are heard, nothing is to be waited for.
      void speaker.shout(body, options);
    } catch (error) {
      this.#host.drop(PatchbayError.fromThrown(error).code);
    }
  }
}
