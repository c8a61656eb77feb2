/**
 * Shouts on their way out: a writer for each speaker.
 *
 * @module
 */

import {
  type EventContext,
  type SpeakerEndpoint,
  type SpeakerPort,
  TimerEntry,
  type TransportContext,
} from "@patchbay/core";
import type { Forms, TopicForm } from "./forms.ts";
import { JSON_MESSAGE } from "./json_text.ts";
import { writeMetadata } from "./metadata.ts";
import { topicName } from "./node/mod.ts";
import { isCompanion } from "./listeners.ts";
import { noteOf } from "./offers.ts";
import { PayloadPool } from "./payload_pool.ts";
import { qosOf, type RosName } from "./ros_name.ts";
import type { RosNode } from "./ros_node.ts";
import type { EndpointData, Qos, Writer } from "./rtps/mod.ts";

/** How many shouts without a ROS type are kept for listeners that are behind. */
const JSON_DEPTH = 4096;
/** How long an awaited shout waits at most for listeners that are behind, in milliseconds. */
const PATIENCE_MS = 1000;
/** How long what was shouted last may take to arrive before a speaker closes, in milliseconds. */
const FLUSH_MS = 1000;

/** A speaker that has no place on this wire. */
const SILENT: Pick<SpeakerPort, "listeners" | "close"> = {
  listeners: 0,
  close: () => Promise.resolve(),
};

/** Everything this bay shouts. */
export class Shouts {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #payloads = new PayloadPool();

  constructor(context: TransportContext, node: RosNode, forms: Forms) {
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
  }

  /**
   * As {@link Transport.speak}.
   *
   * @param endpoint Who speaks.
   * @throws {PatchbayError} `invalid`, `not_found`: its name, type or policies.
   */
  async speak(endpoint: SpeakerEndpoint): Promise<SpeakerPort> {
    await this.#node.met();
    const { address, contract } = endpoint;
    const { naming } = this.#node;
    const said = naming.said(address, contract.native?.[this.#context.name]);
    const name = naming.nameOf(address, said);
    const form = this.#forms.topic(name, said, contract.codec);
    if (form === undefined) {
      return { ...SILENT, shout: () => endpoint.statistics.countDrop("no_ros_type") };
    }
    return new TopicPort(
      this.#context,
      this.#node,
      this.#forms,
      this.#payloads,
      endpoint,
      name,
      form,
      said,
    );
  }
}

/** The policies of a speaker. */
function speakerQos(endpoint: SpeakerEndpoint, form: TopicForm, said: RosName): Partial<Qos> {
  const qos = { ...qosOf(said, "default") };
  if (said.qos !== undefined) return qos;
  return {
    ...qos,
    ...form.type.name === JSON_MESSAGE && said.type === undefined ? { depth: JSON_DEPTH } : {},
    ...endpoint.retain ? { durability: "transient_local" } : {},
  };
}

/** One speaker on its topic. */
class TopicPort extends TimerEntry implements SpeakerPort {
  readonly #context: TransportContext;
  readonly #node: RosNode;
  readonly #forms: Forms;
  readonly #payloads: PayloadPool;
  readonly #endpoint: SpeakerEndpoint;
  readonly #form: TopicForm;
  readonly #writer: Writer;
  readonly #keepsAll: boolean;
  /** The number of the last sample. */
  #written = 0;
  #listeners = 0;
  #pacing: PromiseWithResolvers<void> | undefined;
  /** Somebody is so far behind that nobody waits for it any more. */
  #impatient = false;
  #closing: Promise<void> | undefined;

  constructor(
    context: TransportContext,
    node: RosNode,
    forms: Forms,
    payloads: PayloadPool,
    endpoint: SpeakerEndpoint,
    name: string,
    form: TopicForm,
    said: RosName,
  ) {
    super();
    this.#context = context;
    this.#node = node;
    this.#forms = forms;
    this.#payloads = payloads;
    this.#endpoint = endpoint;
    this.#form = form;
    const { address, statistics } = endpoint;
    const counts = (reader: EndpointData) => isCompanion(reader) ? 0 : 1;
    const qos = speakerQos(endpoint, form, said);
    this.#keepsAll = qos.history === "keep_all";
    this.#writer = node.createWriter({
      topic: topicName(name),
      type: form.type.ddsName,
      qos,
      userData: new TextEncoder().encode(
        `typehash=${form.type.hash};${noteOf("speaker", endpoint)}`,
      ),
      lateSamples: endpoint.retain && said.qos === undefined ? 1 : undefined,
      onMatched: (reader) => void (this.#listeners += counts(reader)),
      onUnmatched: (reader) => void (this.#listeners -= counts(reader)),
      onMismatch: (reader, policies) => {
        // The reader that it stands beside hears what is not kept.
        const isHeard = policies.every(({ policy }) => policy === "durability");
        if (isCompanion(reader) && isHeard) return;
        node.mismatched(address, "speaker", "writer", reader, policies);
      },
      onOverwritten: (samples) => statistics.countDrop("overflow_oldest", samples),
      onDeadlineMissed: () => statistics.countDrop("deadline_offered"),
      onReleased: (payload) => this.#payloads.give(payload),
    });
  }

  get listeners(): number {
    return this.#listeners;
  }

  async ready(): Promise<void> {
    await this.#node.heard();
  }

  shout(value: unknown, event: EventContext): void | Promise<void> {
    const { type } = this.#form;
    const payload = this.#forms.encode(type, this.#form.say(value), this.#payloads.take);
    const { sequence, headers, priority } = event;
    const number = this.#written + 1;
    const plain = sequence === number && headers === undefined && priority === 128;
    this.#writer.write(
      payload,
      plain ? undefined : {
        inline: writeMetadata({
          n: sequence === number ? undefined : sequence,
          h: headers,
          p: priority === 128 ? undefined : priority,
        }),
      },
    );
    this.#written = number;
    this.#endpoint.statistics.bytesOut += payload.length;
    return this.#pace(payload.length);
  }

  /** Whoever awaits a shout pushes nothing out that a listener still needs. */
  #pace(bytes: number): Promise<void> | undefined {
    const writable = this.#writer.writable(bytes);
    if (writable === undefined) {
      this.#impatient = false;
      return undefined;
    }
    if (this.#impatient) return undefined;
    if (this.#pacing === undefined) {
      const pacing = this.#pacing = Promise.withResolvers<void>();
      // Who keeps all has asked for nothing to be lost, however long that takes.
      if (!this.#keepsAll) this.#context.timers.arm(this, PATIENCE_MS);
      const goOn = () => {
        if (this.#pacing !== pacing) return;
        this.#context.timers.disarm(this);
        this.#pacing = undefined;
        pacing.resolve();
      };
      writable.then(goOn);
    }
    return this.#pacing.promise;
  }

  /** Somebody is further behind than is waited for. */
  override expire(): void {
    this.#impatient = true;
    const pacing = this.#pacing;
    this.#pacing = undefined;
    pacing?.resolve();
  }

  close(): Promise<void> {
    return this.#closing ??= (async () => {
      if (!this.#impatient) await this.#writer.untilAcknowledged(FLUSH_MS);
      this.#context.timers.disarm(this);
      this.#writer.close();
      this.#pacing?.resolve();
    })();
  }
}
