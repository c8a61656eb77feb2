/**
 * A bay that serves, calls, shouts and listens without end, and checks every message that comes.
 *
 * Both sides of the fault tests are one of these. What it is told by `lively` it does at once and
 * for ever; whatever of it fails because the other side has gone is begun anew.
 *
 * @module
 */

import { type Bay, type BytesView, PatchbayError } from "@patchbay/core";
import { numbered, readNumbered, Stream } from "./numbered.ts";

/** How many calls are under way at once. */
const AT_ONCE = 4;
/** The codes that a call may end with because the other side is not there. */
const GONE: readonly string[] = ["closed", "not_found", "unavailable"];
const PAUSE_MS = 2;

/** What was counted. */
export interface Tally {
  /** Calls that were answered, and rightly. */
  answered: number;
  /** Calls that were refused because the other side has gone. */
  refused: number;
  /** Calls served for others. */
  served: number;
  /** Shouts heard from others. */
  heard: number;
  /** Shouts sent. */
  shouted: number;
}

/** How it talks. */
export interface PartyOptions {
  /** Told of what may never be. */
  violation: (text: string) => void;
  /** Whether it looks at shouts where they lie. */
  views?: boolean;
  /** Bytes of a message; default: up to 2 KiB, different ones. */
  bytes?: number;
}

/** A bay that talks, and what it has seen. */
export class Party implements AsyncDisposable {
  readonly bay: Bay;
  readonly tally: Tally = { answered: 0, refused: 0, served: 0, heard: 0, shouted: 0 };
  readonly #violation: (text: string) => void;
  readonly #bytes: number | undefined;
  readonly #views: boolean;
  readonly #sender: number = crypto.getRandomValues(new Uint32Array(1))[0];
  readonly #loops: Promise<void>[] = [];
  #over = false;

  constructor(bay: Bay, { violation, bytes, views = false }: PartyOptions) {
    this.bay = bay;
    this.#violation = violation;
    this.#bytes = bytes;
    this.#views = views;
  }

  /** Serves `<me>/echo` and `<me>/hang`, and performs `<me>/dig`, which never ends. */
  async serve(me: string): Promise<void> {
    const requests = new Stream(`requests to ${me}`, this.#violation);
    await this.bay.serve(`${me}/echo`, (value) => {
      requests.take(value);
      this.tally.served++;
      return value;
    });
    await this.bay.serve(`${me}/hang`, (_, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }));
    await this.bay.perform(`${me}/dig`, async function* (_, { signal }) {
      for (let number = 0; !signal.aborted; number++) {
        yield numbered(1, number);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      throw signal.reason;
    });
  }

  /** Has `<other>/dig` done, checks its feedback, and resolves with what it ends with. */
  async dig(other: string): Promise<unknown> {
    try {
      const job = await this.bay.execute(`${other}/dig`, 0, { timeoutMs: 60_000 });
      const feedback = new Stream(`feedback of ${other}`, this.#violation);
      for await (const value of job.feedback) feedback.take(value);
      return await job.result;
    } catch (error) {
      return error;
    }
  }

  /** Shouts at `<me>/tick` as fast as listeners take it. */
  async shout(me: string): Promise<void> {
    const speaker = await this.bay.speaker<unknown, unknown>(`${me}/tick`);
    this.#loop(async (number) => {
      await speaker.shout(numbered(this.#sender, number, this.#bytes));
      this.tally.shouted++;
      // One turn of the event loop for some shouts: a bay that only shouts would serve nobody.
      if (number % 8 === 0) await new Promise((resolve) => setTimeout(resolve));
    });
  }

  /** Listens to `<other>/tick`; a listener that is full holds the speaker back. */
  async listen(other: string): Promise<void> {
    const shouts = new Stream(`shouts of ${other}`, this.#violation);
    const policy = { overflow: "block", maxQueue: 64 } as const;
    const take = (value: unknown) => {
      shouts.take(value);
      this.tally.heard++;
    };
    if (this.#views) {
      await this.bay.listen(`${other}/tick`, (view: BytesView) => take(view.copy()), {
        ...policy,
        views: true,
      });
    } else await this.bay.listen(`${other}/tick`, take, policy);
  }

  /** Listens to `<other>/tick` for the newest value only; others may be passed over. */
  async latest(other: string): Promise<void> {
    const newest = new Stream(`newest of ${other}`, this.#violation, { gaps: true });
    await this.bay.listen(`${other}/tick`, (value) => {
      newest.take(value);
      this.tally.heard++;
    }, { latest: true });
  }

  /** Calls `<other>/echo`, some calls at once. */
  call(other: string): void {
    const callable = this.bay.callable<unknown, unknown>(`${other}/echo`);
    let number = 0;
    for (let i = 0; i < AT_ONCE; i++) {
      this.#loop(async () => {
        const sent = number++;
        const answer = await callable.call(numbered(this.#sender, sent, this.#bytes), {
          timeoutMs: 60_000,
        });
        const read = readNumbered(answer);
        if (typeof read === "string") this.#violation(`answer of ${other}: ${read}`);
        else if (read.sender !== this.#sender || read.number !== sent) {
          this.#violation(`answer of ${other}: ${read.number} instead of ${sent}`);
        } else this.tally.answered++;
      });
    }
  }

  /** Stops talking, and closes the bay. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await this.bay.close();
    await Promise.all(this.#loops);
  }

  #loop(once: (round: number) => Promise<void>): void {
    this.#loops.push((async () => {
      for (let round = 0; !this.#over; round++) {
        try {
          await once(round);
        } catch (error) {
          if (this.#over) return;
          const known = PatchbayError.fromThrown(error);
          if (!GONE.includes(known.code)) this.#violation(`${known.code}: ${known.message}`);
          this.tally.refused++;
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
      }
    })());
  }
}
