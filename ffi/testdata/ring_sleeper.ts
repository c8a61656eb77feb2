/** Reads a ring in shared memory, asleep on a doorbell whenever it is empty, and counts. */
import { RingConsumer } from "../../core/ring.ts";
import { Doorbell, DoorbellReader, SharedMemory } from "../mod.ts";

const [name, folder, count] = Deno.args;
using memory = SharedMemory.open(name);
const consumer = RingConsumer.attach(memory.buffer, { epoch: 3 });
using listener = Deno.listen({ transport: "unix", path: `${folder}/consumer` });
using bell = Doorbell.connect(`${folder}/producer`);
console.log("listening");
using ear = new DoorbellReader(await listener.accept());
let sleeps = 0;
for (let n = 0; n < Number(count);) {
  if (consumer.peek() >= 0) {
    if (consumer.type !== n) throw new Error(`message ${n} came as ${consumer.type}`);
    consumer.release();
    n++;
    if (consumer.wakes()) bell.ring();
  } else if (consumer.sleep()) {
    sleeps++;
    await ear.wait();
    consumer.awake();
  }
}
console.log(`slept ${sleeps > 0}`);
