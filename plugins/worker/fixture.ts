/**
 * How the tests run worker: the bays of one thread meet over message channels, as workers do, and
 * the far side of two programs is a real worker.
 *
 * @module
 */

import { type Bay, open, RingConsumer, RingProducer } from "@patchbay/core";
import {
  type FarProgram,
  type Fixture,
  futureHello,
  futureHelloOnStream,
  type Json,
  type Meeting,
  type StrangerOutcome,
} from "@patchbay/core/conformance";
import { heard, ringMemory, say } from "./greeting.ts";
import type { AttachedWorker } from "./parent.ts";
import { createWorker, type WorkerExtras } from "./plugin.ts";
import type { PortLink } from "./port_link.ts";

/** How long a stranger waits for the bay to close the connection, in milliseconds. */
const STRANGER_MS = 10_000;
/** What a hub between two others lets through: the limits under test are theirs. */
const HUB_MAX_BYTES = 64 * 1024 * 1024;

/** Where a meeting is. */
interface Place {
  /** The module that is the parent. */
  readonly hub: string;
  /** Whether memory is shared. */
  readonly shared: boolean;
}

/** Patience of the tests: connections are made anew at once. */
function quick(shared: boolean) {
  return {
    shared,
    reconnectMinMs: 10,
    reconnectMaxMs: 200,
    connectTimeoutMs: 1000,
    rejoinMs: 1500,
  };
}

/** A program in a worker. */
class FarWorker implements FarProgram {
  readonly lines: AsyncIterable<string>;
  readonly worker: Worker;
  readonly #lines = new TransformStream<string, string>();
  readonly #code = Promise.withResolvers<number>();

  constructor(place: Place) {
    const main = new URL("./testdata/far_worker.ts", import.meta.url);
    this.worker = new Worker(main, { type: "module", name: JSON.stringify(place) });
    this.lines = this.#lines.readable;
    const writer = this.#lines.writable.getWriter();
    this.worker.addEventListener("message", ({ data }: MessageEvent<Record<string, unknown>>) => {
      // Whatever Patchbay says goes over the same port.
      if (typeof data.line === "string") void writer.write(data.line);
      if (typeof data.code === "number") this.#code.resolve(data.code);
    });
    this.worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#code.resolve(1);
    });
    this.#code.promise.then(() => writer.close());
  }

  tell(line: string): Promise<void> {
    this.worker.postMessage({ line });
    return Promise.resolve();
  }

  kill(): Promise<void> {
    this.worker.terminate();
    this.#code.resolve(137);
    return Promise.resolve();
  }

  async end(): Promise<number> {
    this.worker.postMessage({ end: true });
    const code = await this.#code.promise;
    this.worker.terminate();
    return code;
  }
}

/** The bays of this thread, and how they come to the hub. */
class Room {
  readonly place: Place;
  readonly #channels: MessageChannel[] = [];
  readonly #workers: FarWorker[] = [];
  readonly #adopted: AttachedWorker[] = [];
  #hub: WorkerExtras | undefined;

  constructor(place: Place) {
    this.place = place;
  }

  /** A hub has opened: it adopts whoever is there. */
  opened(extras: WorkerExtras): void {
    this.#hub = extras;
    this.#adopted.length = 0;
    for (const { worker } of this.#workers) this.#adopt(worker);
    for (const { port2 } of this.#channels) this.#adopt(port2);
  }

  #adopt(worker: Worker | MessagePort): void {
    const adopted = this.#hub?.adopt(worker);
    if (adopted !== undefined) this.#adopted.push(adopted);
  }

  /** A port that leads to the hub. */
  port(): MessagePort {
    const channel = new MessageChannel();
    this.#channels.push(channel);
    this.#adopt(channel.port2);
    return channel.port1;
  }

  program(): FarWorker {
    const program = new FarWorker(this.place);
    this.#workers.push(program);
    this.#adopt(program.worker);
    return program;
  }

  close(): void {
    for (const { port1, port2 } of this.#channels) {
      port1.close();
      port2.close();
    }
  }
}

/** Opens a place for bays to meet. */
async function meeting(place: Place): Promise<Meeting> {
  const room = new Room(place);
  const links = new Set<PortLink>();
  const worker = createWorker({
    onLink(link) {
      links.add(link);
      link.gone.then(() => links.delete(link));
    },
    onParent: (extras) => room.opened(extras),
  });
  const { shared, hub } = place;
  const made: Meeting = {
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [worker],
      config: {
        worker: module === hub
          ? { ...quick(shared), role: "parent" }
          : { ...quick(shared), port: room.port() },
      },
    }),
    program: () => Promise.resolve(room.program()),
    async sever() {
      await Promise.all([...links].map((link) => link.close(true)));
    },
    stranger: (bytes) => stranger(bytes, room.port(), shared),
    otherVersion: () => shared ? futureHello() : futureHelloOnStream(),
    async [Symbol.asyncDispose]() {
      await bay?.close();
      room.close();
    },
  };
  const bay: Bay | undefined = hub === "hub"
    ? await open({ ...made.options("hub"), maxMessageBytes: HUB_MAX_BYTES })
    : undefined;
  return made;
}

/** How the far side comes to the meeting from its own thread. */
function join(place: Json): Promise<Meeting> {
  const { shared } = place as unknown as Place;
  const worker = createWorker();
  return Promise.resolve({
    options: (module, overrides) => ({
      ...overrides,
      module,
      plugins: [worker],
      config: { worker: quick(shared) },
    }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

/** Dials the parent as a program that knows the greeting, and nothing of what comes after. */
async function stranger(
  bytes: Uint8Array,
  way: MessagePort,
  shared: boolean,
): Promise<StrangerOutcome> {
  const { port1, port2 } = new MessageChannel();
  const reply: number[] = [];
  const closed = Promise.withResolvers<boolean>();
  let rest = () => {};
  port1.onmessage = ({ data }) => {
    const greeting = heard(data);
    if (data instanceof ArrayBuffer) reply.push(...new Uint8Array(data));
    else if (greeting?.say === "bye") {
      rest();
      closed.resolve(true);
    } else if (greeting?.say === "accept") {
      say(port1, { say: "ready", shared: greeting.rings !== undefined });
      if (greeting.rings !== undefined) {
        rest = writeRing(bytes, greeting.rings, greeting.capacity ?? 0, reply);
        port1.postMessage(0);
      } else if (bytes.length > 0) port1.postMessage(bytes.slice().buffer);
    }
  };
  say(way, { say: "dial", abilities: { shares: shared, waits: false } }, [port2]);
  const late = setTimeout(() => closed.resolve(false), STRANGER_MS);
  const outcome = await closed.promise;
  clearTimeout(late);
  port1.close();
  return { reply: new Uint8Array(reply), closed: outcome };
}

/** Writes what there is room for, as few messages as possible; returns how to read what came. */
function writeRing(bytes: Uint8Array, memory: SharedArrayBuffer, capacity: number, into: number[]) {
  const { toParent, toWorker, parentBell } = ringMemory(capacity);
  const producer = RingProducer.attach(memory, { offset: toParent, capacity });
  const consumer = RingConsumer.attach(memory, { offset: toWorker, capacity });
  for (let at = 0; at < bytes.length;) {
    const piece = bytes.subarray(at, at + producer.maxBytes);
    const where = producer.claim(piece.length);
    if (where < 0) break;
    producer.bytes.set(piece, where);
    producer.commit(piece.length);
    at += piece.length;
  }
  const words = new Int32Array(memory);
  if (producer.wakes()) {
    Atomics.add(words, parentBell, 1);
    Atomics.notify(words, parentBell);
  }
  return () => {
    for (let at = consumer.peek(); at >= 0; at = consumer.peek()) {
      into.push(...consumer.bytes.subarray(at, at + consumer.length));
      consumer.release();
    }
  };
}

function fixtureOf(name: string, place: Place, more: Partial<Fixture> = {}): Fixture {
  return {
    plugin: createWorker(),
    name: `worker (${place.shared ? "shared memory" : "messages"}, ${name})`,
    url: import.meta.url,
    layouts: ["same_process", "two_processes"],
    apart: "two threads",
    lacks: { alone: "a bay does not dial itself: in_process is for that" },
    largestPayloadBytes: 16 * 1024 * 1024,
    meeting: () => meeting(place),
    join,
    unavailable: () =>
      Promise.resolve({
        options: {
          module: "lonely",
          plugins: [createWorker()],
          config: { worker: { role: "worker" } },
        },
        reason: /no worker/,
        remedy: /config\.worker\.port/,
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    ...more,
  };
}

const FAR_IS_HUB: Partial<Fixture> = {
  layouts: ["same_process"],
  lacks: {
    alone: "a bay does not dial itself: in_process is for that",
    two_processes: "a worker is not its parent's hub",
  },
};

/** Every way in which two bays can meet: who is the parent, and whether memory is shared. */
export const fixtures: readonly Fixture[] = [true, false].flatMap((shared) => [
  fixtureOf("near is the parent", { hub: "near", shared }),
  fixtureOf("far is the parent", { hub: "far", shared }, FAR_IS_HUB),
  fixtureOf("both are workers", { hub: "hub", shared }),
]);

/** The parent and its worker, over shared memory. */
const fixture: Fixture = fixtures[0];

export default fixture;
