/**
 * Tells whether two sides have the same frame definitions, and if not, where they differ.
 *
 * @module
 */

/** One frame as the two sides compare it: its number, and a digest of its layout. */
export interface FrameSignature {
  /** Its name, such as `BUTTON_STATE`. */
  readonly name: string;
  /** Its number on the wire. */
  readonly number: number;
  /** The first 8 bytes of the SHA-256 of its layout, in hexadecimal. */
  readonly layout: string;
}

/** How one frame differs. `ours` and `theirs` are seen from the side that compares. */
export interface FrameDifference {
  /** The frame. */
  readonly name: string;
  /** In what. */
  readonly kind: "added" | "missing" | "number" | "layout";
  /** The same as a sentence. */
  readonly text: string;
}

async function digest(text: string, bytes: number): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(hash, 0, bytes)].map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/**
 * The digest of a layout text.
 *
 * @param layout As `layoutText` gives it.
 */
export function layoutDigest(layout: string): Promise<string> {
  return digest(layout, 8);
}

/**
 * The fingerprint of a whole set: the same if and only if names, numbers and layouts are.
 *
 * @param signatures In any order.
 */
export function fingerprintOf(signatures: readonly FrameSignature[]): Promise<string> {
  const lines = signatures.map(({ name, number, layout }) => `${number} ${name} ${layout}`);
  return digest(lines.sort().join("\n"), 16);
}

/**
 * Where two sets differ: what the other side has added or is missing, has under another number or
 * in another layout.
 *
 * @param ours This side's frames.
 * @param theirs The other side's.
 *
 * @example
 * ```ts
 * import { compareFrames } from "@patchbay/bus/frames";
 *
 * const ours = [{ name: "LED", number: 1, layout: "aa" }];
 * const theirs = [{ name: "LED", number: 2, layout: "aa" }];
 * console.log(compareFrames(ours, theirs)[0].text); // LED has number 2 there, and 1 here
 * ```
 */
export function compareFrames(
  ours: readonly FrameSignature[],
  theirs: readonly FrameSignature[],
): FrameDifference[] {
  const differences: FrameDifference[] = [];
  const there = new Map(theirs.map((frame) => [frame.name, frame]));
  for (const { name, number, layout } of ours) {
    const other = there.get(name);
    there.delete(name);
    if (!other) {
      differences.push({ name, kind: "missing", text: `${name} (${number}) is missing there` });
    } else if (other.number !== number) {
      const text = `${name} has number ${other.number} there, and ${number} here`;
      differences.push({ name, kind: "number", text });
    } else if (other.layout !== layout) {
      differences.push({ name, kind: "layout", text: `${name} has another layout there` });
    }
  }
  for (const { name, number } of there.values()) {
    differences.push({ name, kind: "added", text: `${name} (${number}) is only there` });
  }
  return differences;
}
