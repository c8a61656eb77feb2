/** Writes messages into a ring in shared memory, on from where the last producer stopped. */
import { RingProducer } from "../../core/ring.ts";
import { openLibc, SharedMemory } from "../mod.ts";
import { lengthOf, messageAt, wordsOf, write } from "./ring_messages.ts";

const [name, count] = Deno.args;
using libc = openLibc();
using memory = SharedMemory.open(name, { libc });
const producer = RingProducer.attach(memory.buffer, { epoch: 3 });
const words = wordsOf(producer.bytes);
const first = messageAt(new Int32Array(memory.buffer)[128 / 4], producer.capacity);
console.log(`from ${first}`);
if (first < 0) Deno.exit(1);
for (let n = first; n < Number(count); n++) {
  const length = lengthOf(n);
  let at: number;
  while ((at = producer.claim(length)) < 0) libc.schedYield();
  write(producer.bytes, words, at, n);
  producer.commit(length, n);
}
console.log("done");
