import { open } from "@patchbay/core";
import worker from "../mod.ts";
const bay = await open({ module: "child", plugins: [worker] });
await bay.serve("child/add", ({ a, b }: { a: number; b: number }) => a + b);
