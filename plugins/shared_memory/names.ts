/**
 * The names under which segments are handed over: each is used once, and says whose it is.
 *
 * @module
 */

/** What every name begins with. */
export const NAME_PREFIX = "/pb-";
/** A name that a peer may offer; 29 characters, which every system takes. */
export const NAME: RegExp = /^\/pb-[0-9a-f]{16}-[0-9a-f]{8}$/;
/** A name of any segment of ours, whatever is in it. */
export const ANY_NAME: RegExp = /^\/pb-[0-9a-f]{16}-[0-9a-z]{8}$/;

/** The names of one bay's segments. */
export class Names {
  /** What the names of the bay's segments begin with. */
  readonly prefix: string;

  private constructor(prefix: string) {
    this.prefix = prefix;
  }

  /**
   * The names of a bay.
   *
   * @param folder The runtime directory.
   * @param instance The bay's instance, which no other bay there has.
   */
  static async of(folder: string, instance: string): Promise<Names> {
    const text = new TextEncoder().encode(`${folder}\n${instance}`);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
    return new Names(`${NAME_PREFIX}${hash.subarray(0, 8).toHex()}-`);
  }

  /** The names of nobody in particular. */
  static ofNobody(): Names {
    return new Names(`${NAME_PREFIX}${crypto.getRandomValues(new Uint8Array(8)).toHex()}-`);
  }

  /** A name that was never used: whoever removes it late removes no other segment. */
  next(): string {
    return this.prefix + crypto.getRandomValues(new Uint8Array(4)).toHex();
  }
}
