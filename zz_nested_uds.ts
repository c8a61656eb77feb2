import { open } from "@patchbay/host";

const via = ["uds"] as const;
await using eye = await open({ module: "eye2",  } as never) as any;
await using desk = await open({ module: "desk2",  } as never) as any;
const got: unknown[] = [];
const l = await desk.listen("eye2/a/*", (v: unknown) => { got.push(v); }, { via });
const a = await eye.speaker("eye2/a/1", { via }), b = await eye.speaker("eye2/a/2", { via });
await new Promise((r) => setTimeout(r, 500));
a.shout({ warm: 1 }); b.shout(new Uint8Array(3)); await new Promise((r) => setTimeout(r, 100));
console.log(got); got.length = 0;
a.shout({ get x() { b.shout(new Uint8Array([1, 2, 3])); return "outer"; } });
await new Promise((r) => setTimeout(r, 200));
console.log("nested", got);
a.shout({ after: 1 }); await new Promise((r) => setTimeout(r, 200)); console.log(got);
