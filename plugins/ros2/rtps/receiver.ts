/**
 * Takes datagrams out of a participant's sockets and hands what they say to the endpoints that it is
 * for.
 *
 * @module
 */

import { Entity } from "./constants.ts";
import type { Discovery } from "./discovery.ts";
import type { EndpointDiscovery } from "./endpoint_discovery.ts";
import { guidOf } from "./guid.ts";
import { Incoming, type MessageSink, readMessage } from "./message_reader.ts";
import type { RtpsReader } from "./reader.ts";
import type { DatagramSocket } from "./socket.ts";
import type { RtpsWriter } from "./writer.ts";

/** Whom it serves. */
export interface ReceiverSetup {
  /** The participant's prefix, as digits and as bytes. */
  readonly ownPrefix: string;
  readonly prefix: Uint8Array;
  /** Whether an address is this machine's. */
  readonly isHere: (hostname: string) => boolean;
  readonly discovery: Pick<Discovery, "get" | "receive">;
  /** The built-in endpoints. */
  readonly builtin: Pick<EndpointDiscovery, "writers" | "readers">;
  /** The user's, by entity id. */
  readonly writers: ReadonlyMap<number, RtpsWriter>;
  readonly readers: ReadonlyMap<number, RtpsReader>;
  /** Called after each datagram. */
  readonly look: () => void;
  /** A message was passed over, for a reason. */
  readonly ignore: (reason: string) => void;
  readonly report: (error: unknown) => void;
  /** Whether an error is no news. */
  readonly isClosing: () => boolean;
}

/** The ears of one participant. */
export class Receiver {
  readonly #setup: ReceiverSetup;
  #acceptedPrefix = "";
  #acceptedFrom = "";
  /** How many datagrams came. */
  received = 0;
  /** How often reading one threw. */
  defects = 0;

  /** @param setup Whom it serves. */
  constructor(setup: ReceiverSetup) {
    this.#setup = setup;
  }

  /** A participant has come or gone: who may speak for whom is looked at anew. */
  forget(): void {
    this.#acceptedPrefix = "";
  }

  /** Nobody from elsewhere speaks for a participant of this machine. */
  #accepts({ prefix, from: { hostname } }: Incoming): boolean {
    if (prefix === this.#acceptedPrefix && hostname === this.#acceptedFrom) return true;
    const { discovery, ownPrefix, isHere } = this.#setup;
    const participant = discovery.get(prefix);
    if (participant?.isHere === true && !participant.speaksFrom(hostname)) return false;
    if (prefix === ownPrefix && !isHere(hostname)) return false;
    this.#acceptedPrefix = prefix;
    this.#acceptedFrom = hostname;
    return true;
  }

  /** Reads a socket until it is closed. */
  async listen(socket: DatagramSocket): Promise<void> {
    const buffer = new Uint8Array(65_536);
    // Reads are bounded by what has come, which `context.bytes` says: one view does for all.
    const view = new DataView(buffer.buffer);
    const context = new Incoming();
    // Datagrams that are there already come without a turn of the event loop; Deno takes one by
    // itself after some dozens, so that timers and other sockets are not starved.
    for (;;) {
      let datagram;
      try {
        datagram = await socket.receive(buffer);
      } catch (error) {
        if (!this.#setup.isClosing()) this.#setup.report(error);
        return;
      }
      if (datagram === undefined) return;
      const { bytes } = datagram;
      context.bytes = bytes;
      const whole = bytes.buffer === buffer.buffer && bytes.byteOffset === 0;
      context.view = whole ? view : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      context.from = datagram.from;
      this.#read(context);
    }
  }

  #read(context: Incoming): void {
    this.received++;
    try {
      const wrong = readMessage(context, this.#sink);
      this.#setup.look();
      if (wrong !== undefined) this.#setup.ignore(wrong);
    } catch (error) {
      this.defects++;
      this.#setup.report(error);
    }
  }

  /** The readers that a submessage is for: one, or all. */
  #each(entity: number, call: (reader: RtpsReader) => void): void {
    const { readers, builtin } = this.#setup;
    if (entity !== Entity.unknown) {
      const reader = readers.get(entity) ?? builtin.readers.get(entity);
      if (reader !== undefined) call(reader);
      return;
    }
    for (const reader of readers.values()) call(reader);
    for (const reader of builtin.readers.values()) call(reader);
  }

  #writer(entity: number): RtpsWriter | undefined {
    const { writers, builtin } = this.#setup;
    return writers.get(entity) ?? builtin.writers.get(entity);
  }

  #lastPrefix = "";
  #lastEntity = -1;
  #lastGuid = "";

  /** The GUID of who speaks; most packets come from who spoke last. */
  #guid(prefix: string, entity: number): string {
    if (entity !== this.#lastEntity || prefix !== this.#lastPrefix) {
      this.#lastPrefix = prefix;
      this.#lastEntity = entity;
      this.#lastGuid = guidOf(prefix, entity);
    }
    return this.#lastGuid;
  }

  readonly #sink: MessageSink = ((receiver: Receiver): MessageSink => ({
    get prefix() {
      return receiver.#setup.prefix;
    },
    accepts(context) {
      return receiver.#accepts(context);
    },
    data(context, data) {
      if (data.writer === Entity.spdpWriter) {
        return receiver.#setup.discovery.receive(context, data);
      }
      const guid = receiver.#guid(context.prefix, data.writer);
      receiver.#each(data.reader, (reader) => reader.receiveData(guid, context, data));
    },
    dataFrag(context, data, first, fragments, fragmentBytes, sampleBytes) {
      const guid = receiver.#guid(context.prefix, data.writer);
      receiver.#each(
        data.reader,
        (reader) =>
          reader.receiveDataFrag(guid, context, data, first, fragments, fragmentBytes, sampleBytes),
      );
    },
    heartbeat({ prefix }, reader, writer, first, last, count, final, liveliness) {
      const guid = receiver.#guid(prefix, writer);
      receiver.#each(
        reader,
        (each) => each.receiveHeartbeat(guid, first, last, count, final, liveliness),
      );
    },
    heartbeatFrag({ prefix }, reader, writer, sequence, lastFragment) {
      const guid = receiver.#guid(prefix, writer);
      receiver.#each(reader, (each) => each.receiveHeartbeatFrag(guid, sequence, lastFragment));
    },
    gap({ prefix }, reader, writer, start, base, bits) {
      const guid = receiver.#guid(prefix, writer);
      receiver.#each(reader, (each) => each.receiveGap(guid, start, base, bits));
    },
    ackNack({ prefix }, reader, writer, base, bits, count, final) {
      const guid = guidOf(prefix, reader);
      receiver.#writer(writer)?.receiveAckNack(guid, base, bits, count, final);
    },
    nackFrag({ prefix }, reader, writer, sequence, base, bits, count) {
      const guid = guidOf(prefix, reader);
      receiver.#writer(writer)?.receiveNackFrag(guid, sequence, base, bits, count);
    },
  }))(this);
}
