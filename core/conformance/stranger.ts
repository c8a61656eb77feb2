/**
 * What fixtures of stream and message wires need to play a peer that does not belong.
 *
 * @module
 */

import { encodeHello, HEADER_BYTES, Kind, writeHeader } from "../session/envelope.ts";
import type { StrangerOutcome } from "./plugin_fixture.ts";

/** How long a stranger waits for the bay to close the connection, in milliseconds. */
const STRANGER_MS = 10_000;

/**
 * Writes bytes to a connection, and reads until the other side closes it.
 *
 * @param connection A fresh connection to a bay; it is closed afterwards.
 * @param bytes What to write.
 */
export async function strangerOver(
  connection: Deno.Conn,
  bytes: Uint8Array,
): Promise<StrangerOutcome> {
  const reply: number[] = [];
  let closed = false;
  const late = setTimeout(() => close(connection), STRANGER_MS);
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const read = await connection.read(buffer);
      if (read === null) break;
      reply.push(...buffer.subarray(0, read));
    }
    closed = true;
  } catch (error) {
    // A reset is a way to close, too; that the time is over is not.
    closed =
      !(error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted);
  } finally {
    clearTimeout(late);
  }
  close(connection);
  return { reply: new Uint8Array(reply), closed };
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

/**
 * The hello of a peer that speaks only versions 7 to 9.
 *
 * @param room Bytes to leave free before the frame: for the length on a stream.
 */
export function futureHello(room = 0): Uint8Array {
  const body = encodeHello({
    versions: [7, 9],
    bay: { id: "f".repeat(16), module: "future", instance: "future" },
    codecs: ["json"],
    compression: [],
    maxMessageBytes: 1024,
    windowBytes: 65_536,
    capabilities: [],
    metadata: {},
  });
  const bytes = new Uint8Array(room + HEADER_BYTES + body.length);
  writeHeader(new DataView(bytes.buffer), room, Kind.hello, 0, 0, 255, 0, 0, 0, 0);
  bytes.set(body, room + HEADER_BYTES);
  return bytes;
}

/** The same behind its length, as stream wires frame it. */
export function futureHelloOnStream(): Uint8Array {
  const bytes = futureHello(4);
  new DataView(bytes.buffer).setUint32(0, bytes.length - 4, true);
  return bytes;
}
