/**
 * Shouts on their way in: a reader for each listener and topic, made when the topic is known.
 *
 * @module
 */

import {
  type EventContext,
  isPattern,
  type ListenerEndpoint,
  type ListenerSource,
  PatchbayError,
  type Registration,
  type TransportContext,
} from "@patchbay/core";
import type { Forms, TopicForm } from "./forms.ts";
import { readMetadata } from "./metadata.ts";
import { rosName, rosType, topicName } from "./node/mod.ts";
import { isActionPart } from "./offers.ts";
import { qosOf, type RosName } from "./ros_name.ts";
import type { RosNode } from "./ros_node.ts";
import type { EndpointData, LossReason, Qos, Reader, Sample } from "./rtps/mod.ts";

/** What a reader tells of itself that stands beside another of the same listener. */
const COMPANION = new TextEncoder().encode("companion=1;");
/** The most topics that one pattern joins. */
const MAX_TOPICS = 4096;

/** Losses that were none: what came twice, and what will come again. */
const HARMLESS: ReadonlySet<LossReason> = new Set(["duplicate", "no_room"]);

/** Whether a reader stands beside another of the same listener, and counts for nobody. */
export function isCompanion({ userData }: EndpointData): boolean {
  return userData.length === COMPANION.length && userData.every((byte, i) => byte === COMPANION[i]);
}

/** Everything this bay listens to. */
export class Listeners {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;

  constructor(context: TransportContext, node: RosNode, forms: Forms) {
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
  }

  /**
   * As {@link Transport.listen}.
   *
   * @param endpoint Who listens.
   * @throws {PatchbayError} `invalid`, `not_found`: its name, type or policies.
   */
  async listen(endpoint: ListenerEndpoint): Promise<Registration> {
    await this.#node.met();
    const ear = new Ear(this.#context, this.#node, this.#forms, endpoint);
    try {
      ear.open();
    } catch (error) {
      ear.close();
      throw error;
    }
    await this.#node.heard();
    return {
      close: () => {
        ear.close();
        return Promise.resolve();
      },
    };
  }
}

/** One listener. */
class Ear {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #endpoint: ListenerEndpoint;
  readonly #source: ListenerSource;
  /** By DDS topic and type. */
  readonly #readers = new Map<string, Reader[]>();
  #unwatch: () => void = () => {};
  #closed = false;

  constructor(
    context: TransportContext,
    node: RosNode,
    forms: Forms,
    endpoint: ListenerEndpoint,
  ) {
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
    this.#endpoint = endpoint;
    this.#source = endpoint.attach();
  }

  /** Joins what is there, and goes on to. */
  open(): void {
    const { pattern, native, codec } = this.#endpoint;
    const { naming } = this.#node;
    if (!isPattern(pattern)) {
      const said = naming.said(pattern, native?.[this.#context.name]);
      const name = naming.nameOf(pattern, said);
      const form = this.#forms.topic(name, said, codec);
      if (form !== undefined) return this.#join(name, pattern, form, said, undefined);
      // Its type is that of the first who speaks.
      return this.#follow((topic) => topic === topicName(name) ? pattern : undefined, () => said);
    }
    this.#follow((topic) => {
      const ros = rosName(topic);
      if (ros?.kind !== "topic" || isActionPart(ros.name)) return undefined;
      const address = naming.addressOf(ros.name);
      return address !== undefined && this.#endpoint.accepts(address) ? address : undefined;
    }, (address) => naming.said(address, undefined));
  }

  /** Joins topics as they come. */
  #follow(
    addressOf: (topic: string) => string | undefined,
    saidOf: (address: string) => RosName,
  ): void {
    const look = (writer: EndpointData, here: boolean) => {
      if (this.#closed || writer.kind !== "writer") return;
      const { topic } = writer;
      const address = addressOf(topic);
      if (address === undefined) return;
      if (here) this.#found(writer, address, saidOf(address));
      else this.#gone(writer);
    };
    this.#unwatch = this.#node.watch(look);
    for (const topic of [...this.#node.topics]) {
      for (const endpoint of this.#node.remote(topic)) look(endpoint, true);
    }
  }

  #found(writer: EndpointData, address: string, said: RosName): void {
    const { topic } = writer;
    if (this.#readers.has(`${topic} ${writer.type}`)) return;
    if (this.#readers.size >= MAX_TOPICS) return this.#endpoint.statistics.countDrop("topics");
    const type = said.type ?? rosType(writer.type);
    try {
      const form = this.#forms.topicOf(type, said.type !== undefined, this.#endpoint.codec);
      if (form !== undefined && form.type.ddsName === writer.type) {
        this.#join(topic.slice("rt".length), address, form, said, writer);
      }
    } catch (error) {
      this.#endpoint.statistics.countDrop("unknown_type");
      this.#node.report(PatchbayError.fromThrown(error).with({ pattern: "speaker", address }));
    }
  }

  #gone({ topic, type }: EndpointData): void {
    for (const each of this.#node.remote(topic)) {
      if (each.kind === "writer" && each.type === type) return;
    }
    const key = `${topic} ${type}`;
    for (const reader of this.#readers.get(key) ?? []) reader.close();
    this.#readers.delete(key);
  }

  #join(
    name: string,
    address: string,
    form: TopicForm,
    said: RosName,
    writer: EndpointData | undefined,
  ): void {
    const qos: Partial<Qos> = {
      ...qosOf(said, "default"),
      // Who does not say takes what there is, as `ros2 topic echo` does.
      ...said.qos === undefined && writer?.qos.reliability === "best_effort"
        ? { reliability: "best_effort" }
        : {},
    };
    const isVolatile = (qos.durability ?? "volatile") === "volatile";
    // A volatile reader gets nothing that was kept, one that wants it meets no volatile writer.
    const two = this.#endpoint.retained && isVolatile;
    const readers = [this.#reader(name, address, form, qos, two ? "fresh" : "all")];
    if (two) {
      const durability = "transient_local";
      readers.push(this.#reader(name, address, form, { ...qos, durability }, "kept"));
    }
    this.#readers.set(`${topicName(name)} ${form.type.ddsName}`, readers);
  }

  #reader(
    name: string,
    address: string,
    form: TopicForm,
    qos: Partial<Qos>,
    part: "all" | "fresh" | "kept",
  ): Reader {
    const { statistics } = this.#endpoint;
    return this.#node.createReader({
      topic: topicName(name),
      type: form.type.ddsName,
      qos,
      userData: part === "kept"
        ? COMPANION
        : new TextEncoder().encode(`typehash=${form.type.hash};`),
      onSample: (sample) => {
        if (part === "fresh" && sample.writer.qos.durability !== "volatile") return;
        this.#heard(sample, address, form);
      },
      onLost: (reason, samples) => {
        if (!HARMLESS.has(reason)) statistics.countDrop(reason, samples);
      },
      onMismatch: (other, policies) => {
        if (part === "kept" && policies.every(({ policy }) => policy === "durability")) return;
        this.#node.mismatched(address, "speaker", "reader", other, policies);
      },
      onDeadlineMissed: () => {
        statistics.countError("deadline_exceeded");
        this.#node.report(
          new PatchbayError(
            "deadline_exceeded",
            `${address}: nothing came within the deadline of ${qos.deadlineMs} ms`,
            { pattern: "speaker", address },
          ),
        );
      },
      onLiveliness: (writer, alive) => {
        if (alive || this.#closed || writer.qos.livelinessLeaseMs === Infinity) return;
        const { module } = this.#node.otherSide(writer.guid);
        this.#node.report(
          new PatchbayError("unavailable", `${address}: ${module} gives no sign of life`, {
            pattern: "speaker",
            address,
          }),
        );
      },
    });
  }

  #heard(sample: Sample, address: string, form: TopicForm): void {
    if (sample.state !== "alive") return;
    const { payload, writer: { guid } } = sample;
    const { statistics } = this.#endpoint;
    let value: unknown;
    try {
      value = form.hear(form.type.decode(payload));
    } catch (error) {
      const known = PatchbayError.fromThrown(error);
      statistics.countDrop(known.code === "too_large" ? "too_large" : "undecodable");
      return this.#node.report(known.with({ pattern: "speaker", address }));
    }
    statistics.bytesIn += payload.length;
    const { n, h, p } = readMetadata(sample.inline);
    const peer = this.#node.otherSide(guid);
    const context: EventContext = {
      address,
      sequence: n ?? sample.sequence,
      origin: peer.bay ?? guid,
      headers: h,
      priority: p ?? 128,
      retained: sample.historical,
      peer,
    };
    this.#source.deliver(value, context);
  }

  /** Leaves all. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch();
    for (const readers of this.#readers.values()) for (const reader of readers) reader.close();
    this.#readers.clear();
    this.#source.close();
  }
}
