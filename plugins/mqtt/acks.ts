/**
 * When a message with QoS 1 is acknowledged: when those who hear it are done with it, in the order in
 * which the messages came.
 *
 * MQTT.js acknowledges before it reads on, so that a slow listener would hold up everything behind
 * it, the broker's own signs of life included. Here reading goes on, and acknowledgements wait.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { MqttClient } from "npm:mqtt@5.16.0";
import type { Packet } from "./packets.ts";

/** What MQTT.js does not offer: to send, or not to send, an acknowledgement. */
interface Sending {
  _sendPacket(
    packet: { cmd: string; messageId: number; reasonCode?: number },
    done?: () => void,
    ...rest: []
  ): void;
}

/** What is still to be done before one message is acknowledged. */
export class Receipt {
  /** The packet's number. */
  readonly id: number;
  readonly #acks: Acks;
  #left = 0;

  /** @ignore Made by {@link Acks}. */
  constructor(acks: Acks, id: number) {
    this.#acks = acks;
    this.id = id;
  }

  /** Whether it may be acknowledged. */
  get settled(): boolean {
    return this.#left === 0;
  }

  /** Somebody more has to be done with it. */
  hold(): void {
    this.#left++;
  }

  /** One of them is. */
  settle(): void {
    this.#left--;
    if (this.#left === 0) this.#acks.flush();
  }
}

/** The acknowledgements of one connection. */
export class Acks {
  /** The message that is being delivered. */
  current: Receipt | undefined = undefined;
  readonly #onDuplicate: () => void;
  #client!: MqttClient;
  /** Messages that came and are not acknowledged. */
  readonly #open = new Map<number, Receipt>();
  /** Those whose turn it would be, in the order in which they came. */
  #waiting: Receipt[] = [];

  /** @param onDuplicate A message has come that this bay has and has not acknowledged yet. */
  constructor(onDuplicate: () => void) {
    this.#onDuplicate = onDuplicate;
  }

  /**
   * Acknowledges the messages of a client from now on.
   *
   * @param client The client.
   * @param message Called with each message that is new.
   */
  attach(
    client: MqttClient,
    message: (topic: string, payload: Buffer, packet: Packet) => void,
  ): void {
    this.#client = client;
    client.on("message", (topic, payload, packet) => {
      const { messageId } = packet;
      if (packet.qos === 1 && messageId !== undefined && !this.arrived(messageId)) {
        return this.#onDuplicate();
      }
      message(topic, payload, packet as Packet);
    });
    const sending = client as unknown as Sending;
    const send = sending._sendPacket;
    sending._sendPacket = (packet, done, ...rest) => {
      if (packet.cmd === "puback" && !this.due(packet.messageId)) return done?.();
      send.call(client, packet, done, ...rest);
    };
  }

  /** How many messages came and are not acknowledged. */
  get open(): number {
    return this.#open.size;
  }

  /**
   * A message has come.
   *
   * @param id The packet's number.
   * @returns Whether it is new: not one that this bay has and has not acknowledged yet.
   */
  arrived(id: number): boolean {
    if (this.#open.has(id)) return false;
    const receipt = new Receipt(this, id);
    this.#open.set(id, receipt);
    this.current = receipt;
    return true;
  }

  /**
   * MQTT.js would acknowledge it now.
   *
   * @param id The packet's number.
   * @returns Whether it may; else it is sent later.
   */
  due(id: number): boolean {
    this.current = undefined;
    const receipt = this.#open.get(id);
    if (receipt === undefined) return true;
    if (receipt.settled && this.#waiting.length === 0) {
      this.#open.delete(id);
      return true;
    }
    this.#waiting.push(receipt);
    return false;
  }

  /** Sends what can be sent. */
  flush(): void {
    let sent = 0;
    while (sent < this.#waiting.length && this.#waiting[sent].settled) {
      const { id } = this.#waiting[sent++];
      this.#open.delete(id);
      this.#acknowledge(id);
    }
    if (sent > 0) this.#waiting = this.#waiting.slice(sent);
  }

  #acknowledge(messageId: number): void {
    if (!this.#client.connected) return;
    const sending = this.#client as unknown as Sending;
    sending._sendPacket({ cmd: "puback", messageId, reasonCode: 0 });
  }

  /** The connection was lost: what was not acknowledged comes again, if the session goes on. */
  lost(): void {
    this.#waiting = [];
    this.current = undefined;
  }

  /** The broker has forgotten the session: nothing comes again. */
  forget(): void {
    this.lost();
    this.#open.clear();
  }
}
