/**
 * Server reflection, v1 and v1alpha: grpcurl and others ask what services there are, and what their
 * messages look like.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { status } from "npm:@grpc/grpc-js@1.14.7";
import { PatchbayError } from "@patchbay/core";
import { describe, type DescribedFile } from "./descriptors.ts";
import { type ByteStream, Outflow } from "./outflow.ts";
import { parseProto, type ProtoFile } from "./proto_file.ts";
import type { GrpcServer } from "./server.ts";

/** The versions: the messages are the same. */
const VERSIONS = ["v1", "v1alpha"] as const;
/** How many answers may wait for a client that does not read. */
const MAX_QUEUE = 256;

/** The standard's messages: names and numbers are those of grpc-proto's `grpc/reflection`. */
const protoOf = (version: string) =>
  `syntax = "proto3";
package grpc.reflection.${version};

service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}

message ServerReflectionRequest {
  string host = 1;
  oneof message_request {
    string file_by_filename = 3;
    string file_containing_symbol = 4;
    ExtensionRequest file_containing_extension = 5;
    string all_extension_numbers_of_type = 6;
    string list_services = 7;
  }
}

message ExtensionRequest {
  string containing_type = 1;
  int32 extension_number = 2;
}

message ServerReflectionResponse {
  string valid_host = 1;
  ServerReflectionRequest original_request = 2;
  oneof message_response {
    FileDescriptorResponse file_descriptor_response = 4;
    ExtensionNumberResponse all_extension_numbers_response = 5;
    ListServiceResponse list_services_response = 6;
    ErrorResponse error_response = 7;
  }
}

message FileDescriptorResponse {
  repeated bytes file_descriptor_proto = 1;
}

message ExtensionNumberResponse {
  string base_type_name = 1;
  repeated int32 extension_number = 2;
}

message ListServiceResponse {
  repeated ServiceResponse service = 1;
}

message ServiceResponse {
  string name = 1;
}

message ErrorResponse {
  int32 error_code = 1;
  string error_message = 2;
}
`;

interface Request {
  readonly host: string;
  readonly file_by_filename?: string;
  readonly file_containing_symbol?: string;
  readonly file_containing_extension?: unknown;
  readonly all_extension_numbers_of_type?: string;
  readonly list_services?: string;
}

/** Tells what there is. */
export class Reflection {
  readonly #files = new Map<string, DescribedFile>();
  readonly #symbols = new Map<string, DescribedFile>();
  /** How often each service is served; those that are listed. */
  readonly #services = new Map<string, number>();

  /** @param server Where it is asked. */
  constructor(server: GrpcServer) {
    for (const version of VERSIONS) {
      const file = parseProto(protoOf(version));
      const service = file.service();
      this.add(file, service.name);
      const method = service.methods.get("ServerReflectionInfo");
      if (method === undefined) throw new Error("unreachable");
      server.stream(method.path, (stream) =>
        this.#asked(stream, server, (bytes) => {
          const original = method.request.decode(bytes, "request") as Request;
          const answer = {
            valid_host: original.host,
            original_request: original,
            ...this.#answer(original),
          };
          return method.response.encode(answer, "response");
        }));
    }
  }

  /**
   * Adds a service.
   *
   * @param file The `.proto` that it stands in.
   * @param service Its full name.
   * @returns Takes it off the list again.
   */
  add(file: ProtoFile, service: string): () => void {
    for (const described of describe(file)) {
      // Two files of one package have the same name: the later one is kept beside the first.
      const known = this.#files.get(described.name);
      if (known !== undefined && !known.bytes.equals(described.bytes)) {
        for (const symbol of described.symbols) {
          if (!this.#symbols.has(symbol)) this.#symbols.set(symbol, described);
        }
        continue;
      }
      this.#files.set(described.name, described);
      for (const symbol of described.symbols) this.#symbols.set(symbol, described);
    }
    this.#services.set(service, (this.#services.get(service) ?? 0) + 1);
    return () => {
      const left = (this.#services.get(service) ?? 1) - 1;
      if (left > 0) this.#services.set(service, left);
      else this.#services.delete(service);
    };
  }

  #asked(stream: ByteStream, server: GrpcServer, answer: (bytes: Buffer) => Buffer): void {
    const outflow = new Outflow(stream, {
      maxQueue: MAX_QUEUE,
      unread: server.unreadOf(stream),
      overflow: "fail",
    });
    stream.on("cancelled", () => outflow.drop());
    stream.on("end", () => outflow.end());
    stream.on("data", (bytes: Buffer) => {
      try {
        outflow.push(answer(bytes), { countDrop() {} });
      } catch (error) {
        outflow.fail(PatchbayError.fromThrown(error));
      }
    });
  }

  #answer(request: Request): Record<string, unknown> {
    const { file_by_filename: name, file_containing_symbol: symbol } = request;
    if (request.list_services !== undefined) {
      const service = [...this.#services.keys()].sort().map((name) => ({ name }));
      return { list_services_response: { service } };
    }
    if (name !== undefined) return this.#file(this.#files.get(name), `no file ${name}`);
    if (symbol !== undefined) {
      return this.#file(this.#symbols.get(symbol), `nothing is called ${symbol}`);
    }
    const type = request.all_extension_numbers_of_type;
    if (type !== undefined && this.#symbols.has(type)) {
      // proto3 has extensions of options alone, and those are nobody's messages.
      return {
        all_extension_numbers_response: { base_type_name: type, extension_number: [] },
      };
    }
    return refusal(status.NOT_FOUND, "there are no extensions");
  }

  /** A file, and all that it needs. */
  #file(file: DescribedFile | undefined, otherwise: string): Record<string, unknown> {
    if (file === undefined) return refusal(status.NOT_FOUND, otherwise);
    const found = new Set<DescribedFile>();
    const follow = (one: DescribedFile) => {
      if (found.has(one)) return;
      found.add(one);
      for (const name of one.needs) {
        const needed = this.#files.get(name);
        if (needed !== undefined) follow(needed);
      }
    };
    follow(file);
    const bytes = [...found].map((one) => one.bytes);
    return { file_descriptor_response: { file_descriptor_proto: bytes } };
  }
}

function refusal(code: status, message: string): Record<string, unknown> {
  return { error_response: { error_code: code, error_message: message } };
}
