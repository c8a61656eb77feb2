/**
 * grpc: the three patterns over gRPC, by a published service or by a `.proto` of your own, over Unix
 * sockets and TCP.
 *
 * @module
 */

import { createGrpc, type GrpcPlugin } from "./plugin.ts";

export type { GrpcConfig, ListenAddress } from "./config.ts";
export type { GrpcPlugin } from "./plugin.ts";
export {
  type LoadOptions,
  loadProto,
  parseProto,
  ProtoFile,
  ProtoMessage,
  type ProtoMethod,
  type ProtoService,
} from "./proto_file.ts";
export {
  type AnyService,
  type ConnectOptions,
  type MethodOptions,
  type MethodShape,
  type RequestOf,
  ServiceClient,
  type ServiceShape,
} from "./service_client.ts";
export type { MethodContext, MethodHandler, MethodHandlers } from "./service_in.ts";
export type { TlsOptions } from "./tls.ts";
export type { GrpcExtras, ServeServiceOptions } from "./transport.ts";

/** The plugin. */
const grpc: GrpcPlugin = createGrpc();

export default grpc;
