/**
 * The other thread of the suite `worker`: the floors, and a bay.
 *
 * @module
 */

import { open, ringBytes, RingConsumer, RingProducer } from "@patchbay/core";
import worker from "@patchbay/worker";
import type { Message } from "./uds_far.ts";

/** How many bytes each ring of the floor holds. */
export const CAPACITY = 256 * 1024;
/** Where the second ring of the floor begins, and where the word behind both lies. */
export const SECOND: number = ringBytes(CAPACITY);
/** The word that says whether the floor is measured now. */
export const BUSY_AT: number = 2 * SECOND / 4;

/** What a worker is started as, by its name. */
export type Role = "messages" | "ring" | "ours";

/** Answers each message with the sum, or with the buffer itself. */
function messages(): void {
  self.addEventListener("message", (event) => {
    const { data } = event as Event as MessageEvent<Message | ArrayBuffer>;
    const scope = self as unknown as Worker;
    if (data instanceof ArrayBuffer) return scope.postMessage(data, [data]);
    scope.postMessage({ id: 1, sum: data.args.x + data.args.y });
  });
}

/** Sends what comes back, looking again and again while the floor is measured. */
function ring(memory: SharedArrayBuffer): void {
  const consumer = RingConsumer.attach(memory);
  const producer = RingProducer.attach(memory, { offset: SECOND });
  const words = new Int32Array(memory);
  for (;;) {
    Atomics.wait(words, BUSY_AT, 0);
    while (Atomics.load(words, BUSY_AT) === 1) {
      for (let poll = 0; poll < 1000; poll++) {
        const at = consumer.peek();
        if (at < 0) continue;
        const to = producer.claim(consumer.length);
        if (to < 0) continue;
        producer.bytes.set(consumer.bytes.subarray(at, at + consumer.length), to);
        producer.commit(consumer.length);
        consumer.release();
      }
    }
  }
}

async function ours(): Promise<void> {
  const bay = await open({ module: "far", plugins: [worker] });
  await bay.serve("far/add", ({ args }: Message) => ({ sum: args.x + args.y }));
  await bay.serve("far/echo", (value) => value);
  const speaker = await bay.speaker<number>("far/tick");
  await bay.serve("far/push", async (n: number) => {
    for (let i = 0; i < n; i++) await speaker.shout(i);
    return n;
  });
}

if ("DedicatedWorkerGlobalScope" in globalThis) {
  const role = (self as unknown as { name: Role }).name;
  if (role === "messages") messages();
  else if (role === "ours") await ours();
  else {
    self.addEventListener("message", (event) => {
      const { data } = event as Event as MessageEvent<SharedArrayBuffer>;
      if (data instanceof SharedArrayBuffer) ring(data);
    });
  }
}
