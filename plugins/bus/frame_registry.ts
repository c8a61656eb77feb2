/**
 * Holds the modules of one bus to one set of frame definitions: that of the manager if it has one,
 * else that of the first module.
 *
 * @module
 */

import { type BayIdentity, PatchbayError } from "@patchbay/core";
import { compareFrames, type FrameSignature } from "./frames/fingerprint.ts";
import type { FrameSet } from "./frames/frame.ts";

/** What of a hello's metadata is ours. */
const PREFIX = "frames.";
/** The longest value of a hello's metadata, in characters. */
const MAX_VALUE = 4096;
const SIGNATURE = /^([A-Za-z_]\w*) (\d{1,3}) ([0-9a-f]{16})$/;

/** A set of definitions, as it is exchanged. */
export interface FrameTable {
  /** The same on both sides, or the rest is compared. */
  readonly fingerprint: string;
  /** Every frame. */
  readonly signatures: readonly FrameSignature[];
}

/** What a module says of its definitions in its hello. */
export function frameMetadata({ fingerprint, signatures }: FrameSet): Record<string, string> {
  const metadata: Record<string, string> = { [`${PREFIX}fingerprint`]: fingerprint };
  let part = "";
  let parts = 0;
  const end = () => metadata[`${PREFIX}${parts++}`] = part;
  for (const { name, number, layout } of signatures) {
    const line = `${name} ${number} ${layout}`;
    if (part.length + line.length + 1 > MAX_VALUE) {
      end();
      part = "";
    }
    part += part === "" ? line : `\n${line}`;
  }
  end();
  return metadata;
}

/**
 * Reads what a module says of its definitions; `undefined` if it has none.
 *
 * @throws `protocol`: it cannot be read.
 */
export function readFrameMetadata(
  metadata: Readonly<Record<string, string>>,
): FrameTable | undefined {
  const fingerprint = metadata[`${PREFIX}fingerprint`];
  if (fingerprint === undefined) return undefined;
  const signatures: FrameSignature[] = [];
  for (let part = 0; metadata[`${PREFIX}${part}`] !== undefined; part++) {
    for (const line of metadata[`${PREFIX}${part}`].split("\n")) {
      if (line === "") continue;
      const [, name, number, layout] = SIGNATURE.exec(line) ?? [];
      if (name === undefined) {
        throw new PatchbayError("protocol", "the frame definitions in the hello cannot be read");
      }
      signatures.push({ name, number: Number(number), layout });
    }
  }
  return { fingerprint, signatures };
}

/** What the modules of one bus agree on. */
export class FrameRegistry {
  readonly #fixed: boolean;
  readonly #holders = new Set<string>();
  #table: FrameTable | undefined;
  #of = "the manager";

  /** @param frames The manager's own definitions, if it has any. */
  constructor(frames?: FrameSet) {
    this.#table = frames;
    this.#fixed = frames !== undefined;
  }

  /** What the modules agree on; `undefined` as long as none has definitions. */
  get table(): FrameTable | undefined {
    return this.#table;
  }

  /**
   * Lets a module in whose definitions are those of the bus, or who has none.
   *
   * @param module Its name.
   * @param metadata What its hello says.
   * @throws `invalid`: its definitions differ; the error lists where.
   */
  admit(module: string, metadata: Readonly<Record<string, string>>): void {
    this.#check(module, readFrameMetadata(metadata));
  }

  /**
   * Lets it in for good: if it is the first that has definitions, they are those of the bus until the
   * last module that has them has left.
   *
   * @param bay Who it is.
   * @param metadata What its hello says.
   * @throws `invalid`, as {@link admit}.
   */
  join({ id, module }: BayIdentity, metadata: Readonly<Record<string, string>>): void {
    const theirs = readFrameMetadata(metadata);
    this.#check(module, theirs);
    if (theirs === undefined) return;
    if (!this.#fixed && this.#holders.size === 0) {
      this.#table = theirs;
      this.#of = module;
    }
    this.#holders.add(id);
  }

  /** It has gone. */
  left(id: string): void {
    this.#holders.delete(id);
    if (this.#holders.size === 0 && !this.#fixed) this.#table = undefined;
  }

  #check(module: string, theirs: FrameTable | undefined): void {
    if (theirs === undefined || this.#table === undefined) return;
    if (theirs.fingerprint === this.#table.fingerprint) return;
    // Seen from the module that is refused: what it has, and what the bus has.
    const differences = compareFrames(theirs.signatures, this.#table.signatures);
    const list = differences.map(({ text }) => text).join("; ");
    throw new PatchbayError(
      "invalid",
      `the frame definitions of ${module} differ from the bus's, which are ${this.#of}'s: ${list}`,
      {
        retryable: false,
        details: { differences: differences.map(({ name, kind }) => ({ name, kind })) },
        remedy: "generate the frames of all modules from one file: deno task frames FILE",
      },
    );
  }
}
