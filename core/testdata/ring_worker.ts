/** Echoes messages between two rings in a `SharedArrayBuffer`, until one has type -1. */
import { RingConsumer, RingProducer } from "../ring.ts";

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<{ memory: SharedArrayBuffer; back: number }>) => void;
  postMessage(value: unknown): void;
};

scope.onmessage = ({ data: { memory, back } }) => {
  const requests = RingConsumer.attach(memory);
  const answers = RingProducer.attach(memory, { offset: back });
  const clock = new Int32Array(new SharedArrayBuffer(4));
  let count = 0;
  let idle = 0;
  for (;;) {
    const from = requests.peek();
    if (from < 0) {
      // The main thread may need this core.
      if (++idle % 100 === 0) Atomics.wait(clock, 0, 0, 0.05);
      continue;
    }
    const { length, type } = requests;
    let at = answers.claim(length);
    while (at < 0) {
      Atomics.wait(clock, 0, 0, 0.05);
      at = answers.claim(length);
    }
    answers.bytes.set(requests.bytes.subarray(from, from + length), at);
    answers.commit(length, type);
    requests.release();
    if (type === -1) break;
    count++;
  }
  scope.postMessage(count);
};
