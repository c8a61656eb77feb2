/** Writes so many values into a slot, as fast as it can. */
import { SlotWriter } from "../latest_slot.ts";

const scope = globalThis as unknown as {
  onmessage: (
    event: MessageEvent<{ memory: SharedArrayBuffer; capacity: number; count: number }>,
  ) => void;
  postMessage(value: unknown): void;
};

scope.onmessage = ({ data: { memory, capacity, count } }) => {
  const writer = new SlotWriter(memory, { offset: 0, capacity });
  const value = new Int32Array(capacity / 4);
  const bytes = new Uint8Array(value.buffer);
  for (let n = 1; n <= count; n++) {
    const used = 4 + (n * 52) % (capacity - 4) & ~3;
    value.fill(n, 0, used / 4);
    writer.write(bytes.subarray(0, used));
  }
  scope.postMessage("done");
};
