/**
 * The far processes of the bus suite: `bus_far.ts bare`, `manager [PORT]`, `answer URL`,
 * `hear URL NAME COUNT`, `stream URL` or `crowd URL COUNT`. Each prints a line of JSON when it is ready, and ends when its
 * input does.
 *
 * @module
 */

import { type Bay, open } from "@patchbay/core";
import bus, { BusComm, Priority } from "@patchbay/bus";
import {
  Display8x8Character,
  Distance,
  frames,
  FrameType,
  LedState,
  Move,
  Ping,
} from "../plugins/bus/testdata/frames.ts";
import { writeAll } from "./uds_far.ts";

/** Who hears frames says so after so many. */
export const ACK_FRAMES = 512;

/** The window and the queue of a sender hold 470 frames of this size: more is dropped. */
const BURST_FRAMES = 500;

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
async function manager(port: number): Promise<string> {
  const bay: Bay<readonly [typeof bus]> = await open({
    module: "bus",
    plugins: [bus] as const,
    config: { bus: { listen: { port } } },
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

/** The time, in nanoseconds, by the clock that all processes share. */
export function nowNanos(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n;
}

/**
 * A module that streams more than goes out: its queue is full all the time, and drops as it is
 * declared. Behind each burst it sends a frame in the highest lane that says when.
 */
async function stream(url: string): Promise<string> {
  const comm = await join("stream", url);
  const picture = new Display8x8Character({ x: 1, y: 2, characters: "x".repeat(240) });
  await comm.send(picture, Priority.DATA_STREAM);
  await comm.send(new Move(), Priority.HIGH);
  // By timer: a program that never rests would not let its own socket be written to.
  setInterval(() => {
    for (let n = 0; n < BURST_FRAMES; n++) void comm.send(picture, Priority.DATA_STREAM);
    void comm.send(new Move({ until: nowNanos() }), Priority.HIGH);
  }, 2);
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
    manager: () => manager(Number(url ?? 0)),
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
