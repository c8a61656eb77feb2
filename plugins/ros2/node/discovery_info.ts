/**
 * `ros_discovery_info`: which nodes a participant has, and which endpoints belong to which. That is
 * what `ros2 node list` and `ros2 topic info -v` read.
 *
 * A participant's and endpoint's id has 24 bytes on Humble and 16 from Iron on, under one type name:
 * both are read, and what is written follows what nodes of other makes write.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import { type Participant, type Reader, type Sample, VENDOR_ID, type Writer } from "../rtps/mod.ts";
import { type MessageType, Types } from "../types/mod.ts";

/** How many bytes an id has: 24 on Humble, 16 from Iron on. */
export type GidBytes = 16 | 24;

/** One node. */
export interface NodeEntry {
  /** Its namespace, such as `/`. */
  readonly namespace: string;
  /** Its name. */
  readonly name: string;
  /** The GUIDs of its readers, 32 hexadecimal digits. */
  readonly readers: readonly string[];
  /** The GUIDs of its writers. */
  readonly writers: readonly string[];
}

/** What it is made with. */
export interface DiscoveryInfoOptions {
  /** The size to use. Default: 16, until a node of another make has shown that it uses 24. */
  readonly gidBytes?: GidBytes;
  /** Another participant's nodes are known, or have changed. */
  readonly onNodes?: (prefix: string, nodes: readonly NodeEntry[]) => void;
  /** Told of what cannot be read. */
  readonly onReport: (error: unknown) => void;
}

const TOPIC = "ros_discovery_info";
/** What one participant, and all together, may say of their nodes, in bytes. */
const MAX_BYTES_EACH = 256 * 1024;
const MAX_BYTES_IN_ALL = 16 * 1024 * 1024;
/** How many names are looked at for doubles. */
const MAX_DUPLICATES = 64;
const QOS = { durability: "transient_local", depth: 1 } as const;

interface Gid {
  data: Uint8Array;
}
interface Info {
  gid: Gid;
  node_entities_info_seq: {
    node_namespace: string;
    node_name: string;
    reader_gid_seq: Gid[];
    writer_gid_seq: Gid[];
  }[];
}

function typeOf(bytes: GidBytes): MessageType {
  const definitions = { "rmw_dds_common/msg/Gid": `char[${bytes}] data` };
  return new Types({ definitions }).message("rmw_dds_common/ParticipantEntitiesInfo");
}

const hex = (bytes: Uint8Array) =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

function gid(guid: string, bytes: GidBytes): Gid {
  const data = new Uint8Array(bytes);
  data.set(Uint8Array.from(guid.match(/../g) ?? [], (two) => parseInt(two, 16)));
  return { data };
}

/** The nodes of one participant, and those of the others. */
export class DiscoveryInfo implements Disposable {
  readonly #participant: Participant;
  readonly #options: DiscoveryInfoOptions;
  readonly #types: Readonly<Record<GidBytes, MessageType>> = { 16: typeOf(16), 24: typeOf(24) };
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #remote = new Map<string, readonly NodeEntry[]>();
  readonly #bytes = new Map<string, number>();
  #bytesInAll = 0;
  #nodes: readonly NodeEntry[] = [];
  #gidBytes: GidBytes;

  /**
   * Makes its endpoints.
   *
   * @param participant Where.
   * @param options What is told.
   */
  constructor(participant: Participant, options: DiscoveryInfoOptions) {
    this.#participant = participant;
    this.#options = options;
    this.#gidBytes = options.gidBytes ?? 16;
    const type = this.#types[16].ddsName;
    this.#writer = participant.createWriter({ topic: TOPIC, type, qos: QOS });
    this.#reader = participant.createReader({
      topic: TOPIC,
      type,
      qos: QOS,
      onSample: (sample) => this.#received(sample),
      onUnmatched: (writer) => this.#set(writer.guid.slice(0, 24), undefined, 0),
    });
    this.#publish();
  }

  /** The nodes of others, by their participants' prefixes. */
  get remote(): ReadonlyMap<string, readonly NodeEntry[]> {
    return this.#remote;
  }

  /** Names that more than one node has, of others and of this participant. */
  get duplicates(): string[] {
    const seen = new Map<string, number>();
    for (const nodes of [this.#nodes, ...this.#remote.values()]) {
      for (const { namespace, name } of nodes) {
        const full = `${namespace === "/" ? "" : namespace}/${name}`;
        seen.set(full, (seen.get(full) ?? 0) + 1);
      }
    }
    const twice = [...seen].filter(([, count]) => count > 1).map(([name]) => name).sort();
    return twice.slice(0, MAX_DUPLICATES);
  }

  /** Tells everybody which nodes this participant has. */
  setNodes(nodes: readonly NodeEntry[]): void {
    this.#nodes = nodes;
    this.#publish();
  }

  #publish(): void {
    const bytes = this.#gidBytes;
    this.#writer.write(this.#types[bytes].encode({
      gid: gid(`${this.#participant.prefix}000001c1`, bytes),
      node_entities_info_seq: this.#nodes.map(({ namespace, name, readers, writers }) => ({
        node_namespace: namespace,
        node_name: name,
        reader_gid_seq: readers.map((each) => gid(each, bytes)),
        writer_gid_seq: writers.map((each) => gid(each, bytes)),
      })),
    }));
  }

  #received({ payload, state, writer }: Sample): void {
    if (state !== "alive" || writer.guid.startsWith(this.#participant.prefix)) return;
    const prefix = writer.guid.slice(0, 24);
    try {
      const others = this.#bytesInAll - (this.#bytes.get(prefix) ?? 0);
      if (payload.length > MAX_BYTES_EACH || others + payload.length > MAX_BYTES_IN_ALL) {
        throw new PatchbayError("too_large", `${prefix} tells of too many nodes`, {
          details: { participant: prefix, bytes: payload.length, others, MAX_BYTES_EACH },
          remedy: "its nodes are not shown; keep strangers off this domain's ports",
        });
      }
      const { info, bytes } = this.#read(payload);
      const text = ({ data }: Gid) => hex(data.subarray(0, 16));
      const nodes = info.node_entities_info_seq.map((each) => ({
        namespace: each.node_namespace,
        name: each.node_name,
        readers: each.reader_gid_seq.map(text),
        writers: each.writer_gid_seq.map(text),
      }));
      this.#set(prefix, nodes, payload.length);
      // One domain has one distribution: what real nodes use is what they understand. Our own are
      // no judges, as two of them would follow each other for ever.
      const vendor = this.#participant.participant(writer.guid.slice(0, 24))?.vendor ?? VENDOR_ID;
      const follows = this.#options.gidBytes === undefined && vendor !== VENDOR_ID;
      if (!follows || bytes === this.#gidBytes) return;
      this.#gidBytes = bytes;
      this.#publish();
    } catch (error) {
      this.#options.onReport(error);
    }
  }

  /** Reads it in the size with which it comes out even. */
  #read(payload: Uint8Array): { info: Info; bytes: GidBytes } {
    const sizes: GidBytes[] = this.#gidBytes === 16 ? [16, 24] : [24, 16];
    for (const bytes of sizes) {
      try {
        const info = this.#types[bytes].decode(payload) as Info;
        // What is left over must be no more than padding.
        const used = this.#types[bytes].encode(info).length;
        const even = used <= payload.length && payload.length - used < 4;
        const own = hex(info.gid.data.subarray(12, 16)) === "000001c1";
        if (even && own) return { info, bytes };
      } catch (error) {
        if (!(error instanceof PatchbayError)) throw error;
      }
    }
    throw new PatchbayError("protocol", "a participant's ros_discovery_info cannot be read", {
      details: { bytes: payload.length },
    });
  }

  #set(prefix: string, nodes: readonly NodeEntry[] | undefined, bytes: number): void {
    this.#bytesInAll += bytes - (this.#bytes.get(prefix) ?? 0);
    if (nodes === undefined) {
      this.#remote.delete(prefix);
      this.#bytes.delete(prefix);
    } else {
      this.#remote.set(prefix, nodes);
      this.#bytes.set(prefix, bytes);
    }
    this.#options.onNodes?.(prefix, nodes ?? []);
  }

  /** Ends it. */
  close(): void {
    this.#writer.close();
    this.#reader.close();
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
