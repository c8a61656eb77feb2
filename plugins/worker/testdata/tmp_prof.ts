import { open } from "@patchbay/core";
import worker from "../mod.ts";
const bay = await open({ module: "main", plugins: [worker], config: {worker: {shared: Deno.args[0]==="ring"}}, onReport: e=>console.log("report", e.message) });
const w = bay.transport(worker).spawn(new URL("./hello.ts", import.meta.url));
await bay.waitFor({pattern:"callable", address:"child/add"} as any);
const add = bay.callable<{a:number,b:number}, number>("child/add");
for (let r=0;r<4;r++) { const t=performance.now(); for (let i=0;i<50000;i++) await add.call({a:i,b:2}); console.log((performance.now()-t)*1000/50000); }
await bay.close();
