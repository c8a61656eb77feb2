import { createRing, RingConsumer, ringBytes, RingProducer } from "/work/wt/shm/core/mod.ts";
import { RingLink } from "/work/wt/shm/plugins/shared_memory/ring_link.ts";
const cap = 1024*1024;
const a = new SharedArrayBuffer(ringBytes(cap)), b = new SharedArrayBuffer(ringBytes(cap));
createRing(a, cap); createRing(b, cap);
const conn = { read: () => new Promise(() => {}), write: () => Promise.resolve(1), close() {} } as unknown as Deno.Conn;
const link = new RingLink({ conn, producer: RingProducer.attach(a), consumer: RingConsumer.attach(b), yieldCore() {}, free() {} });
const peer = RingConsumer.attach(a);
const send = (n: number, fill: number, between?: () => void) => {
  const at = link.claim(n, true); link.buffer.fill(fill, at, at + n); between?.(); link.commit(n);
};
const drain = (max = 1e9) => { const out: string[] = []; for (let i=0;i<max;i++){ const at = peer.peek(); if (at < 0) break; out.push(`${peer.length}x${peer.bytes[at]}`); peer.release(); } return out; };
for (let i = 0; i < 3; i++) send(262144, 1);     // 384K + headers
send(262144, 2, () => console.log("peer took", drain(2)));  // no room at claim, room at commit
console.log("buffered", link.buffered);
for (let i = 0; i < 100 && !link.buffered; i++) send(20000, 3);
console.log("buffered after fill", link.buffered);
while (!link.buffered) send(1000, 4);
console.log("first waiting: 1000x4, buffered", link.buffered);
console.log(drain().filter((x,i,l)=>x!==l[i-1])); link.flush(); console.log("then", drain(), "buffered", link.buffered);
Deno.exit();
