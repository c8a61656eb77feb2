/** A module that only listens: `listening_module.ts URL`. Says `ready` when it hears. */
import { BusComm } from "../mod.ts";
import { frames, FrameType } from "./frames.ts";

const comm = await BusComm.open({ module: "listening", frames, url: Deno.args[0] });
await comm.listenFor([FrameType.DISTANCE]);
console.log("ready");
