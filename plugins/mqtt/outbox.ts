/**
 * Messages on their way to the broker: what may still be sent, what came of it, and what is taken
 * back.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { MqttClient } from "npm:mqtt@5.16.0";
import { PatchbayError } from "@patchbay/core";
import { translate } from "./errors.ts";
import { packetBytes, type Properties, type PublishOptions } from "./packets.ts";

/** "No matching subscribers": MQTT 5, section 3.4.2.1. */
const NOBODY = 16;

/** Somebody waits until the broker has a message. */
interface Delivery {
  readonly reject: (error: PatchbayError) => void;
  /** Whether it goes on waiting when the connection was lost: it is sent again. */
  readonly lasting: boolean;
}

/** What one connection sends. */
export class Outbox {
  readonly #where: string;
  readonly #maxQueueBytes: number;
  #client!: MqttClient;
  /** By the number of a message: who wants to know that nobody has subscribed to it. */
  readonly #nobody = new Map<number, () => void>();
  readonly #deliveries = new Set<Delivery>();
  #closed: PatchbayError | undefined;

  /**
   * @param where The broker, for messages.
   * @param maxQueueBytes The most bytes that wait to be sent.
   */
  constructor(where: string, maxQueueBytes: number) {
    this.#where = where;
    this.#maxQueueBytes = maxQueueBytes;
  }

  /** Sends through a client from now on. */
  attach(client: MqttClient): void {
    this.#client = client;
    client.on("packetreceive", (packet) => {
      if (packet.cmd !== "puback" || packet.reasonCode !== NOBODY) return;
      this.#nobody.get(packet.messageId ?? 0)?.();
    });
  }

  /**
   * Sends a message. Never throws.
   *
   * @param topic Where.
   * @param data What.
   * @param options How.
   * @param done For QoS 1 and 2: what came of it.
   * @param nobody MQTT 5, QoS 1: nobody has subscribed to it.
   */
  publish(
    topic: string,
    data: string | Buffer,
    options: PublishOptions,
    done?: (error?: unknown) => void,
    nobody?: () => void,
  ): void {
    const client = this.#client;
    if (done === undefined) return void client.publish(topic, data, options);
    if (nobody === undefined) {
      return void client.publish(topic, data, options, (error) => done(error ?? undefined));
    }
    let messageId = 0;
    let over = false;
    client.publish(topic, data, options, (error) => {
      over = true;
      this.#nobody.delete(messageId);
      done(error ?? undefined);
    });
    if (over) return;
    messageId = client.getLastMessageId();
    this.#nobody.set(messageId, nobody);
  }

  /** The number of the message with QoS 1 that was sent last. */
  get lastId(): number {
    return this.#client.getLastMessageId();
  }

  /** Takes back a message that the broker has not confirmed. */
  forget(messageId: number): void {
    this.#client.removeOutgoingMessage(messageId);
  }

  /**
   * Sends a message, and waits until the broker has it, or the bay is closed.
   *
   * @param topic Where.
   * @param data What.
   * @param options How.
   * @param lasting Whether a lost connection is waited for; else it ends the wait.
   * @throws {PatchbayError} `forbidden`, `closed`, …
   */
  async deliver(
    topic: string,
    data: string | Buffer,
    options: PublishOptions,
    lasting: boolean,
  ): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const delivery = { reject, lasting };
    this.#deliveries.add(delivery);
    try {
      this.publish(topic, data, options, (error) => {
        if (error === undefined) resolve();
        else reject(translate(error, this.#where, topic));
      });
      await promise;
    } finally {
      this.#deliveries.delete(delivery);
    }
  }

  /** The connection was lost. */
  lost(reason: PatchbayError): void {
    for (const { lasting, reject } of this.#deliveries) if (!lasting) reject(reason);
  }

  /** Nothing is sent any more. */
  close(reason: PatchbayError): void {
    this.#closed = reason;
    this.#nobody.clear();
    for (const { reject } of this.#deliveries) reject(reason);
  }

  /**
   * Whether the broker takes a message, and there is room for it.
   *
   * @param address What it is about, for the error.
   * @param topic Its topic.
   * @param data Its payload.
   * @param properties What goes with it.
   * @returns `too_large`, `overloaded`, or `undefined`: it may be sent.
   */
  refusal(
    address: string,
    topic: string,
    data: string | Buffer,
    properties?: Properties,
  ): PatchbayError | undefined {
    const max = this.#client.serverProperties?.maximumPacketSize;
    if (max !== undefined) {
      const size = packetBytes(topic, data, properties);
      if (size > max) {
        return new PatchbayError(
          "too_large",
          `${address}: the message has ${size} bytes, the broker takes ${max}`,
          { details: { size, max }, remedy: "raise the broker's limit" },
        );
      }
    }
    const queued = this.#client.stream.writableLength;
    const maxQueueBytes = this.#maxQueueBytes;
    if (queued === 0 || queued + data.length <= maxQueueBytes) return undefined;
    return new PatchbayError("overloaded", `${address}: too much waits to be sent`, {
      details: { maxQueueBytes },
      remedy: "wait for what was sent before",
    });
  }
}
