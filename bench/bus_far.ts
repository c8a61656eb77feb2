/**
 * The far processes of the bus suite: `bus_far.ts bare`, `manager`, `answer URL`, `hear URL NAME COUNT`,
 * `stream URL` or `crowd URL COUNT`. Each prints a line of JSON when it is ready, and ends when its
 * input does.
 *
 * @module
 */

import { type Bay, open } from "@patchbay/core";
import bus, { BusComm, Priority } from "@patchbay/bus";
import {
  ButtonState,
  Display8x8Character,
  Distance,
  frames,
  FrameType,
  LedState,
  Ping,
} from "../plugins/bus/testdata/frames.ts";
import { writeAll } from "./uds_far.ts";

/** Who hears frames says so after so many. */
export const ACK_FRAMES = 512;

/** Joins the bus. */
export function join(module: string, url: string): Promise<BusComm> {
  return BusComm.open({ module, frames, url });
}

/** A bare echo over TCP. */
function bare(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (async () => {
    for await (const conn of listener) {
      conn.setNoDelay(true);
      void (async () => {
        const buffer = new Uint8Array(256 * 1024);
        for (let read = await conn.read(buffer); read !== null; read = await conn.read(buffer)) {
          await writeAll(conn, buffer.subarray(0, read));
        }
        conn.close();
      })();
    }
  })();
  return (listener.addr as Deno.NetAddr).port;
}

/** The manager, as `patchbay bus` runs it. */
async function manager(): Promise<string> {
  const bay: Bay<readonly [typeof bus]> = await open({
    module: "bus",
    plugins: [bus] as const,
    config: { bus: { listen: { port: 0 } } },
  });
  return bay.transport(bus).where[0];
}

/** A module that answers each button with a light. */
async function answer(url: string): Promise<string> {
  const comm = await join("answer", url);
  await comm.send(new LedState());
  comm.onFrame(() => void comm.send(new LedState()));
  await comm.listenFor([FrameType.BUTTON_STATE]);
  return "ready";
}

/** Modules that hear every distance, check that none is missing, and say how far they are. */
async function hear(url: string, name: string, count: number): Promise<string> {
  for (let n = 0; n < count; n++) {
    const comm = await join(`${name}${n}`, url);
    await comm.send(new Ping());
    let heard = 0;
    comm.onFrame((frame) => {
      const mm = frame.as(Distance)?.mm;
      if (mm !== (heard & 0xffff)) {
        console.error(`frame ${mm} came instead of ${heard & 0xffff}`);
        Deno.exit(1);
      }
      if (++heard % ACK_FRAMES === 0) void comm.send(new Ping());
    });
    await comm.listenFor([FrameType.DISTANCE]);
  }
  return "ready";
}

/** A module that streams as much as it can, and answers each button in the highest lane. */
async function stream(url: string): Promise<string> {
  const comm = await join("stream", url);
  await comm.send(new LedState(), Priority.HIGH);
  comm.onFrame(() => void comm.send(new LedState(), Priority.HIGH));
  await comm.listenFor([FrameType.BUTTON_STATE]);
  const picture = new Display8x8Character({ x: 1, y: 2, characters: "x".repeat(240) });
  await comm.send(picture, Priority.DATA_STREAM);
  const { port1, port2 } = new MessageChannel();
  port2.onmessage = () => {
    // More than goes out in a turn: what is too much is dropped here, as it is declared.
    for (let n = 0; n < 128; n++) void comm.send(picture, Priority.DATA_STREAM);
    port1.postMessage(0);
  };
  port1.postMessage(0);
  return "ready";
}

/** Many modules in one process, each with a connection of its own. */
async function crowd(url: string, count: number): Promise<string> {
  for (let at = 0; at < count; at += 20) {
    const some = Array.from({ length: Math.min(20, count - at) }, async (_, n) => {
      const comm = await join(`crowd${at + n}`, url);
      await comm.listenFor([FrameType.BUTTON_STATE]);
    });
    await Promise.all(some);
  }
  return "ready";
}

async function main([role, url, ...rest]: string[]): Promise<void> {
  const roles: Record<string, () => unknown> = {
    bare,
    manager,
    answer: () => answer(url),
    hear: () => hear(url, rest[0], Number(rest[1])),
    stream: () => stream(url),
    crowd: () => crowd(url, Number(rest[0])),
  };
  console.log(JSON.stringify(await roles[role]()));
  await Deno.stdin.read(new Uint8Array(1));
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
