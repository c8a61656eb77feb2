import { open } from "@patchbay/host";
import sharedMemory from "/work/wt/shm/plugins/shared_memory/mod.ts";
const opt = { plugins: [sharedMemory] } as never as object;
const via = ["shared_memory"] as const;
await using eye = await open({ module: "eye", ...opt } as never) as any;
await using desk = await open({ module: "desk", ...opt } as never) as any;
let n = 0;
const l = await desk.listen("eye/state/*", () => { n++; }, { latest: true, via });
for (let i = 0; i < 12; i++) {
  const s = await eye.speaker(`eye/state/${i}`, { via });
  if (i === 0) await new Promise((r) => setTimeout(r, 500));
  for (let k = 0; k < 50; k++) s.shout({ k }); 
  await new Promise((r) => setTimeout(r, 30));
  console.log("speaker", i, "callbacks", n, "wire", JSON.stringify(eye.transport(sharedMemory).statistics?.messagesOut ?? Object.keys(eye.transport(sharedMemory)))); n = 0;
  await s.close?.();
}
