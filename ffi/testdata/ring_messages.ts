/** The messages of the ring's tests between processes: message n says all about itself. */

/** How many bytes message n has: 4 to 512. */
export function lengthOf(n: number): number {
  return 4 + ((Math.imul(n, 0x9e3779b1) >>> 8) % 509);
}

const wordOf = (n: number, i: number) => (Math.imul(n, 0x85ebca6b) + i) | 0;

/** Writes message n. */
export function write(bytes: Uint8Array, words: Int32Array, at: number, n: number): void {
  const length = lengthOf(n);
  const whole = length >>> 2;
  for (let i = 0; i < whole; i++) words[(at >>> 2) + i] = wordOf(n, i);
  for (let i = whole * 4; i < length; i++) bytes[at + i] = n + i;
}

/** Whether message n lies there. */
export function isRight(bytes: Uint8Array, words: Int32Array, at: number, n: number): boolean {
  const length = lengthOf(n);
  const whole = length >>> 2;
  for (let i = 0; i < whole; i++) if (words[(at >>> 2) + i] !== wordOf(n, i)) return false;
  for (let i = whole * 4; i < length; i++) if (bytes[at + i] !== ((n + i) & 0xff)) return false;
  return true;
}

/** The ring's data as words. */
export function wordsOf(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
}

/**
 * Which message comes next where the head stands; -1 if it stands at no beginning of a message.
 * A producer that was killed is continued from nothing but the ring.
 */
export function messageAt(head: number, capacity: number): number {
  const units = capacity >>> 3;
  let at = 0;
  for (let n = 0; at <= head; n++) {
    if (at === head) return n;
    const need = ((lengthOf(n) + 7) >>> 3) + 1;
    const place = at % units;
    if (place + need > units) at += units - place;
    at += need;
  }
  return -1;
}
