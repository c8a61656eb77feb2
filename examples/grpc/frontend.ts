/**
 * A frontend of the arm: connects to the backend of its module, and calls methods by name.
 *
 * @module
 */

import { ServiceClient } from "@patchbay/grpc";
import type { Arm } from "./arm_proto.ts";

/**
 * Moves the arm once, and tells what came of it.
 *
 * @param where Where the backend is: its module, or a target.
 */
export async function moveOnce(
  where: { module?: string; runtimeDirectory?: string; target?: string },
): Promise<string[]> {
  const proto = new URL("./arm.proto", import.meta.url);
  await using arm = await ServiceClient.connect<Arm>({ proto, ...where });
  const told: string[] = [];
  const { session, joints } = await arm.callMethod("Initialize", { frontend: "panel" });
  told.push(`session ${session}: ${joints.join(", ")}`);
  const command = { session, move_to: { x: 2, y: 0, z: 0 }, speed: "SLOW" } as const;
  for await (const { done, at } of arm.streamMethod("ExecuteCommand", command)) {
    told.push(`${done * 100} %: x = ${at?.x}`);
  }
  const { data } = await arm.callMethod("GetData", { names: ["elbow"], samples: 2 });
  told.push(`elbow: ${data.elbow.values.join(", ")}`);
  return told;
}

if (import.meta.main) {
  for (const line of await moveOnce({ module: "arm" })) console.log(line);
}
