import { open } from "@patchbay/core";
import worker from "../mod.ts";
const bay = await open({ module: "main", plugins: [worker], config: {worker: {shared: false}}, onReport: e=>console.log("report", e.message) });
const w = bay.transport(worker).spawn(new URL("./hello.ts", import.meta.url));
await bay.waitFor({pattern:"callable", address:"child/add"} as any);
const add = bay.callable<{a:number,b:number}, number>("child/add");
console.log(await add.call({a:1,b:2}));
let posts = 0; const sizes: number[] = []; const orig = MessagePort.prototype.postMessage; MessagePort.prototype.postMessage = function(...a: any[]) { posts++; if (a[0] instanceof ArrayBuffer) sizes.push(a[0].byteLength); return (orig as any).apply(this, a); } as any;
for (let r=0;r<3;r++) { posts=0; const t = performance.now(); await Promise.all(Array.from({length:64}, async()=>{ for (let i=0;i<300;i++) await add.call({a:i,b:2}); })); console.log("posts", posts, "per", 64*300/posts, "us/call", (performance.now()-t)*1000/19200); }
console.log(sizes.slice(0,40).join(" "));await bay.close();
