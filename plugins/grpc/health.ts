/**
 * The standard health service: `grpc.health.v1.Health`, for probes and balancers.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { Metadata } from "npm:@grpc/grpc-js@1.14.7";
import { PatchbayError } from "@patchbay/core";
import { nothingSaid } from "./inbound.ts";
import { type ByteStream, Outflow } from "./outflow.ts";
import { parseProto, type ProtoFile } from "./proto_file.ts";
import type { GrpcServer } from "./server.ts";
import { failureOf, statusOf } from "./statuses.ts";

/** What the service is called. */
export const HEALTH = "grpc.health.v1.Health";

/** The standard's messages: names and numbers are those of grpc-proto's `grpc/health/v1`. */
const PROTO = `syntax = "proto3";
package grpc.health.v1;

message HealthCheckRequest {
  string service = 1;
}

message HealthCheckResponse {
  enum ServingStatus {
    UNKNOWN = 0;
    SERVING = 1;
    NOT_SERVING = 2;
    SERVICE_UNKNOWN = 3;
  }
  ServingStatus status = 1;
}

service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
}
`;

/** How a service is doing. */
export type ServingStatus = "SERVING" | "NOT_SERVING";

/** Tells how services are doing. */
export class HealthService {
  readonly #known = new Map<string, ServingStatus>([["", "SERVING"]]);
  readonly #watchers = new Map<Outflow, string>();
  readonly #server: GrpcServer;
  readonly #response;
  /** Its file, for reflection. */
  readonly file: ProtoFile;

  /** @param server Where it is asked. */
  constructor(server: GrpcServer) {
    this.#server = server;
    this.file = parseProto(PROTO);
    const { methods } = this.file.service(HEALTH);
    const check = methods.get("Check");
    const watch = methods.get("Watch");
    if (check === undefined || watch === undefined) throw new Error("unreachable");
    this.#response = check.response;
    const serviceIn = (bytes: Buffer) =>
      (check.request.decode(bytes, "request") as { service: string }).service;
    server.unary(check.path, (call, done) => {
      try {
        const service = serviceIn(call.request);
        const status = this.#known.get(service);
        if (status === undefined) {
          throw new PatchbayError("not_found", `no service ${service} is served here`);
        }
        done(null, this.#encode(status));
      } catch (error) {
        done(statusOf(PatchbayError.fromThrown(error)));
      }
    });
    server.stream(watch.path, (stream) => {
      const unsaid = () => stream.emit("error", failureOf(nothingSaid("service")));
      stream.once("end", unsaid);
      stream.once("data", (bytes: Buffer) => {
        stream.removeListener("end", unsaid);
        this.#watch(stream, () => serviceIn(bytes));
      });
    });
  }

  /**
   * Says how a service is doing.
   *
   * @param service Its full name; empty: the whole server.
   * @param status How; `undefined`: it is not served any more.
   */
  set(service: string, status: ServingStatus | undefined): void {
    if (status === undefined) this.#known.delete(service);
    else this.#known.set(service, status);
    const bytes = this.#encode(status ?? "SERVICE_UNKNOWN");
    for (const [watcher, watched] of this.#watchers) {
      if (watched === service) watcher.push(bytes, FORGETFUL);
    }
  }

  /** The server closes: whoever asks is told, and streams end. */
  close(): void {
    for (const service of this.#known.keys()) this.set(service, "NOT_SERVING");
    for (const watcher of this.#watchers.keys()) watcher.end();
  }

  #watch(stream: ByteStream, service: () => string): void {
    // Only the last word counts.
    const watcher = new Outflow(stream, {
      maxQueue: 1,
      unread: this.#server.unreadOf(stream),
      overflow: "drop_oldest",
    });
    try {
      const watched = service();
      const gone = () => {
        this.#watchers.delete(watcher);
        watcher.drop();
      };
      stream.on("cancelled", gone);
      stream.on("close", gone);
      stream.sendMetadata(new Metadata());
      this.#watchers.set(watcher, watched);
      watcher.push(this.#encode(this.#known.get(watched) ?? "SERVICE_UNKNOWN"), FORGETFUL);
    } catch (error) {
      watcher.fail(PatchbayError.fromThrown(error));
    }
  }

  #encode(status: ServingStatus | "SERVICE_UNKNOWN"): Buffer {
    return this.#response.encode({ status }, "response");
  }
}

/** What a later word makes old is no loss. */
const FORGETFUL = { countDrop() {} };
