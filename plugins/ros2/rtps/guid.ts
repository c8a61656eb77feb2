/**
 * What things are called in RTPS: 12 bytes of a participant's prefix, 4 of its entity.
 *
 * @module
 */

const HEX: readonly string[] = Array.from(
  { length: 256 },
  (_, i) => i.toString(16).padStart(2, "0"),
);

/** Bytes as lower-case hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += HEX[bytes[i]];
  return text;
}

/** The bytes that hexadecimal digits stand for. */
export function unhex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** The GUID of an entity, as 32 hexadecimal digits: how this package names endpoints. */
export function guidOf(prefix: string, entity: number): string {
  return prefix + (entity >>> 0).toString(16).padStart(8, "0");
}

/** The prefix in a GUID, 24 digits. */
export function prefixOf(guid: string): string {
  return guid.slice(0, 24);
}

/** The entity id in a GUID. */
export function entityOf(guid: string): number {
  return parseInt(guid.slice(24), 16);
}

/**
 * A new prefix (9.3.1.5): the vendor, then random bytes, so that two never meet.
 *
 * @param vendor The vendor id, which Fast DDS expects in front.
 */
export function newPrefix(vendor: number): Uint8Array {
  const prefix = crypto.getRandomValues(new Uint8Array(12));
  prefix[0] = vendor >> 8;
  prefix[1] = vendor & 255;
  return prefix;
}
