/**
 * Two bays that call each other over gRPC, with no more permission than that needs.
 *
 * @module
 */

import { Patchbay } from "@patchbay/core";
import grpc from "@patchbay/grpc";

function open(module: string, config: Record<string, unknown>) {
  return Patchbay.open({ module, plugins: [grpc], config: { grpc: config } });
}

await using arm = await open("arm", { listen: { port: 0 } });
await arm.serve("arm/echo", (value) => value);
await using desk = await open("desk", { peers: [arm.transport(grpc).url] });
console.log(await desk.call("arm/echo", 42));
