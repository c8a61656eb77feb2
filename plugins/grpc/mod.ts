/**
 * grpc: the three patterns over gRPC, by a published service or by a `.proto` of your own, over Unix
 * sockets and TCP.
 *
 * @module
 */

import { createGrpc, type GrpcPlugin } from "./plugin.ts";

export type { GrpcConfig, ListenAddress } from "./config.ts";
export type { GrpcPlugin } from "./plugin.ts";
export type { TlsOptions } from "./tls.ts";
export type { GrpcExtras } from "./transport.ts";

/** The plugin. */
const grpc: GrpcPlugin = createGrpc();

export default grpc;
