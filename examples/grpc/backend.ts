/**
 * The backend of the arm: a bay that serves `arm.proto` on its Unix socket. Its frontends are other
 * processes of the same module.
 *
 * @module
 */

import { Patchbay } from "@patchbay/patchbay";
import grpc, { type MethodContext } from "@patchbay/grpc";
import type {
  ArmHandlers,
  Correction,
  ExecuteCommandProgressInput,
  ExecuteCommandRequest,
  GetDataRequest,
  InitializeRequest,
  Point,
} from "./arm_proto.ts";

/** What answers the frontends. */
export class Backend implements ArmHandlers {
  #sessions = 0;
  #at: Point = { x: 0, y: 0, z: 0 };

  Initialize({ frontend }: InitializeRequest) {
    console.log(`${frontend} begins`);
    return { session: ++this.#sessions, joints: ["shoulder", "elbow", "wrist"] };
  }

  async *ExecuteCommand(
    { move_to: to }: ExecuteCommandRequest,
    { signal }: MethodContext,
  ): AsyncGenerator<ExecuteCommandProgressInput> {
    if (to === undefined || to === null) throw new Error("this arm can only move");
    const from = this.#at;
    for (let done = 0.25; done <= 1; done += 0.25) {
      signal.throwIfAborted();
      const part = (a: number, b: number) => a + (b - a) * done;
      this.#at = { x: part(from.x, to.x), y: part(from.y, to.y), z: part(from.z, to.z) };
      yield { done, at: this.#at };
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  GetData({ names, samples = 1 }: GetDataRequest) {
    const values = Array.from({ length: samples }, (_, i) => this.#at.x + i);
    return { data: Object.fromEntries(names.map((name) => [name, { values }])) };
  }

  async Correct(corrections: AsyncIterable<Correction>) {
    let sum = 0;
    for await (const { by } of corrections) sum += by;
    return { sum };
  }

  async *Follow(points: AsyncIterable<Point>) {
    for await (const { x, y, z } of points) yield { x: Math.min(x, 1), y, z };
  }
}

if (import.meta.main) {
  const bay = await Patchbay.open({ module: "arm", plugins: [grpc] });
  const proto = new URL("./arm.proto", import.meta.url);
  await bay.transport(grpc).serveService({ proto, handlers: new Backend() });
  console.log(bay.transport(grpc).url);
}
