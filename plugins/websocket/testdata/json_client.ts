/**
 * For tests: a client of `patchbay.json.v1` that knows nothing but JSON.
 *
 * @module
 */

import assert from "node:assert/strict";

/** How long anything may take before it is taken to hang, in milliseconds. */
const WATCHDOG_MS = 30_000;

/** A message. */
export type Message = Record<string, unknown> & { type: string };

/** A WebSocket whose messages are waited for one by one. */
export class JsonClient {
  /** All that has come and nobody has waited for. */
  readonly unread: Message[] = [];
  /** Resolves with code and reason when it has closed. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;
  #look: (() => void) | undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    const closed = Promise.withResolvers<{ code: number; reason: string }>();
    this.closed = closed.promise;
    socket.onmessage = ({ data }) => {
      this.unread.push(JSON.parse(data));
      this.#look?.();
    };
    socket.onerror = (event) => event.preventDefault();
    socket.onclose = ({ code, reason }) => {
      closed.resolve({ code, reason });
      this.#look?.();
    };
  }

  /** Connects; says hello unless told not to, and waits for the hello-ack. */
  static async open(url: string, hello: Record<string, unknown> | null = {}): Promise<JsonClient> {
    const socket = new WebSocket(url, "patchbay.json.v1");
    const client = new JsonClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener("open", () => resolve());
      socket.addEventListener("close", () => reject(new Error("it did not open")));
    });
    if (hello !== null) {
      client.say({ type: "hello", ...hello });
      await client.next("hello-ack");
    }
    return client;
  }

  /** Sends one message. */
  say(message: Message): void {
    this.#socket.send(JSON.stringify(message));
  }

  /** Sends anything. */
  raw(data: string | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(data);
  }

  /** The next message of a type, and of an id; others stay unread. */
  async next(type: string, id?: number): Promise<Message> {
    const deadline = performance.now() + WATCHDOG_MS;
    for (;;) {
      const at = this.unread.findIndex((m) => m.type === type && (id === undefined || m.id === id));
      if (at >= 0) return this.unread.splice(at, 1)[0];
      assert.ok(this.#socket.readyState <= WebSocket.OPEN, `closed before a ${type} came`);
      const left = deadline - performance.now();
      assert.ok(left > 0, `no ${type} ${id ?? ""} came; unread: ${JSON.stringify(this.unread)}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#look = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  /** Asks, and waits for the answer under the same id. */
  ask(message: Message, answer: string): Promise<Message> {
    this.say(message);
    return this.next(answer, message.id as number);
  }

  /** Closes, and waits until it has. */
  async close(): Promise<void> {
    this.#socket.close();
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
