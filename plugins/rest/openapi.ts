/**
 * What a bay serves as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0).
 *
 * @module
 */

import type { AnyContract, CallableEndpoint, JobEndpoint, SpeakerEndpoint } from "@patchbay/core";
import type { AuthOptions } from "./auth_options.ts";
import { type Name, nameOf } from "./names.ts";
import { type JsonSchema, schemaOf } from "./schemas.ts";

type Json = Record<string, unknown>;

/** What is described. */
export interface Described {
  /** The module's name. */
  readonly module: string;
  /** The URL that the document was asked for under. */
  readonly origin: string;
  /** What is served. */
  readonly callables: readonly { readonly endpoint: CallableEndpoint; readonly name: Name }[];
  /** What is spoken. */
  readonly speakers: readonly SpeakerEndpoint[];
  /** What is performed. */
  readonly jobs: readonly JobEndpoint[];
  /** What endpoints are called by configuration. */
  readonly names: Readonly<Record<string, unknown>>;
  /** Who is let in. */
  readonly auth: AuthOptions | undefined;
}

/** Marks a body of which nobody knows the schema; `patchbay doctor` says so. */
export const UNTYPED = "x-patchbay-untyped";

const PROBLEM: JsonSchema = {
  type: "object",
  description: "What went wrong: RFC 9457, with Patchbay's code",
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string" },
    remedy: { type: "string" },
    retryable: { type: "boolean" },
    details: { type: "object" },
  },
  required: ["type", "title", "status", "detail", "code"],
};

const JOB: JsonSchema = {
  type: "object",
  properties: {
    id: { type: "string", pattern: "^[0-9a-f]{32}$" },
    state: { enum: ["pending", "running", "succeeded", "failed"] },
    progress: { type: "number", minimum: 0, maximum: 1 },
    result: { type: "string", description: "where the result is" },
  },
  required: ["id", "state"],
};

/** Builds one document. */
class Builder {
  readonly #described: Described;
  readonly paths: Record<string, Json> = {};
  readonly schemas: Record<string, JsonSchema> = { Problem: PROBLEM };

  constructor(described: Described) {
    this.#described = described;
    for (const { endpoint, name } of described.callables) this.#callable(endpoint, name);
    for (const { contract } of described.speakers) this.#speaker(contract);
    for (const { contract } of described.jobs) this.#job(contract);
  }

  #callable({ contract }: CallableEndpoint, name: Name): void {
    const { method, path, status = 200 } = name;
    const id = idOf(contract);
    const request = schemaOf(contract, "request");
    const properties = (request?.properties ?? {}) as Record<string, JsonSchema>;
    const required = Array.isArray(request?.required) ? request.required as string[] : [];
    const bodyless = method === "GET" || method === "DELETE";
    const parameters = name.parameters.map((key) => ({
      name: key,
      in: "path",
      required: true,
      schema: properties[key] ?? { type: "string" },
    }));
    const rest = Object.entries(properties).filter(([key]) => !name.parameters.includes(key));
    const query = !name.spread || !bodyless ? [] : rest.map(([key, schema]) => ({
      name: key,
      in: "query",
      required: required.includes(key),
      schema,
    }));
    const body = name.spread && request !== undefined
      ? {
        ...request,
        properties: Object.fromEntries(rest),
        required: required.filter((key) => !name.parameters.includes(key)),
      }
      : request;
    this.#add(path, method, {
      ...common(contract, id),
      ...(parameters.length + query.length > 0 ? { parameters: [...parameters, ...query] } : {}),
      ...(bodyless
        ? {}
        : { requestBody: { content: this.#content(contract, body, `${id}_request`) } }),
      responses: {
        [String(status)]: {
          description: "the answer; 204 without a body if it is nothing",
          content: this.#content(contract, schemaOf(contract, "response"), `${id}_response`),
        },
        default: PROBLEMS,
      },
    });
  }

  #speaker(contract: SpeakerEndpoint["contract"]): void {
    const { path } = nameOf(
      contract.address,
      contract.native?.rest,
      this.#described.names,
    );
    const id = idOf(contract);
    const schema = schemaOf(contract, "value");
    const word = (name: string, where: string, described: JsonSchema) => ({
      name,
      in: where,
      required: false,
      schema: described,
    });
    this.#add(path, "GET", {
      ...common(contract, id),
      parameters: [
        word("retained", "query", { type: "boolean", description: "begin with the last value" }),
        word("max_queue", "query", { type: "integer", minimum: 1, default: 1024 }),
        word("overflow", "query", { enum: ["drop_oldest", "drop_newest", "fail"] }),
        word("Last-Event-ID", "header", { type: "string", description: "go on behind this event" }),
      ],
      responses: {
        "200": {
          description: "the values, each as an event whose data is JSON",
          content: {
            "text/event-stream": {
              schema: { type: "string" },
              "x-patchbay-event": this.#schema(schema, `${id}_value`) ?? {},
              ...(schema === undefined ? { [UNTYPED]: true } : {}),
            },
          },
        },
        default: PROBLEMS,
      },
    });
  }

  #job(contract: JobEndpoint["contract"]): void {
    const { path } = nameOf(contract.address, contract.native?.rest, this.#described.names);
    const id = idOf(contract);
    this.schemas.Job ??= JOB;
    const status = { "application/json": { schema: { $ref: "#/components/schemas/Job" } } };
    const events: Json = {
      schema: { type: "string" },
      "x-patchbay-feedback": this.#schema(schemaOf(contract, "feedback"), `${id}_feedback`) ?? {},
    };
    const stream = { ...status, "text/event-stream": events };
    const parameters = [{
      name: "id",
      in: "path",
      required: true,
      schema: { type: "string", pattern: "^[0-9a-f]{32}$" },
    }];
    this.#add(path, "POST", {
      ...common(contract, id),
      requestBody: { content: this.#content(contract, schemaOf(contract, "goal"), `${id}_goal`) },
      responses: {
        "202": {
          description: "the goal was accepted; with Accept: text/event-stream this is its stream",
          headers: { Location: { description: "where the job is", schema: { type: "string" } } },
          content: stream,
        },
        default: PROBLEMS,
      },
    });
    this.#add(`${path}/{id}`, "GET", {
      operationId: `${id}_look`,
      summary: "How the job stands, or its events",
      parameters,
      responses: { "200": { description: "how it stands", content: stream }, default: PROBLEMS },
    });
    this.#add(`${path}/{id}`, "DELETE", {
      operationId: `${id}_cancel`,
      summary: "Asks the job to stop",
      parameters,
      responses: {
        "202": { description: "it was asked to", content: status },
        "200": { description: "it had ended", content: status },
        default: PROBLEMS,
      },
    });
    this.#add(`${path}/{id}/result`, "GET", {
      operationId: `${id}_result`,
      summary: "The job's result",
      parameters,
      responses: {
        "200": {
          description: "the result",
          content: this.#content(contract, schemaOf(contract, "result"), `${id}_result_value`),
        },
        "202": { description: "it has not ended", content: status },
        default: PROBLEMS,
      },
    });
  }

  #add(path: string, method: string, operation: Json): void {
    const key = path.replace(/:([A-Za-z_][A-Za-z0-9_]*)/g, "{$1}");
    (this.paths[key] ??= {})[method.toLowerCase()] = operation;
  }

  #content(contract: AnyContract, schema: JsonSchema | undefined, name: string): Json {
    if (contract.codec === "raw") return { "application/octet-stream": {} };
    if (schema === undefined) {
      // Anything, as far as anybody knows.
      return {
        "application/json": { schema: {}, [UNTYPED]: true },
        "application/octet-stream": {},
      };
    }
    return { "application/json": { schema: this.#schema(schema, name) } };
  }

  /** A schema whose references lead into itself becomes a component, and they lead there. */
  #schema(schema: JsonSchema | undefined, name: string): JsonSchema | undefined {
    if (schema === undefined || !JSON.stringify(schema).includes('"$ref":"#')) return schema;
    const here = `#/components/schemas/${name}`;
    const moved = JSON.parse(
      JSON.stringify(schema),
      (key, value) =>
        key === "$ref" && typeof value === "string" && value.startsWith("#")
          ? here + value.slice(1)
          : value,
    ) as JsonSchema;
    this.schemas[name] = moved;
    return { $ref: here };
  }
}

const PROBLEMS: Json = {
  description: "what went wrong",
  content: {
    "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
  },
};

function idOf({ pattern, address }: AnyContract): string {
  return `${pattern}_${address.replace(/[^a-z0-9_]/g, "_")}`;
}

function common(contract: AnyContract, operationId: string): Json {
  const { address, description, pattern } = contract;
  return {
    operationId,
    tags: [address.split("/")[0]],
    summary: description ?? `${pattern} ${address}`,
    "x-patchbay-address": address,
    "x-patchbay-pattern": pattern,
  };
}

/**
 * Makes the document.
 *
 * @param described What is described.
 */
export function openapi(described: Described): Json {
  const { paths, schemas } = new Builder(described);
  const { auth, module, origin } = described;
  const schemes: Json = {};
  if (auth !== undefined) {
    const { tokens, introspection, apiKeys, apiKeyHeader = "x-api-key", authenticate } = auth;
    if (tokens !== undefined || introspection !== undefined || authenticate !== undefined) {
      schemes.bearer = { type: "http", scheme: "bearer" };
    }
    if (apiKeys !== undefined) {
      schemes.apiKey = { type: "apiKey", in: "header", name: apiKeyHeader };
    }
  }
  const secured = Object.keys(schemes).length > 0;
  return {
    openapi: "3.1.0",
    info: { title: module, version: "1", description: "Served by Patchbay" },
    ...(origin === "" ? {} : { servers: [{ url: origin }] }),
    paths,
    components: { schemas, ...(secured ? { securitySchemes: schemes } : {}) },
    ...(secured ? { security: Object.keys(schemes).map((name) => ({ [name]: [] })) } : {}),
  };
}

/**
 * The endpoints of which nobody knows a schema, by address and value.
 *
 * @param described What is described.
 */
export function untyped({ callables, speakers, jobs }: Described): string[] {
  const contracts: [AnyContract, readonly string[]][] = [
    ...callables.map(({ endpoint }) => [endpoint.contract, ["request", "response"]] as const),
    ...speakers.map(({ contract }) => [contract, ["value"]] as const),
    ...jobs.map(({ contract }) => [contract, ["goal", "feedback", "result"]] as const),
  ].map(([contract, values]) => [contract as AnyContract, values]);
  return contracts.flatMap(([contract, values]) =>
    contract.codec === "raw" ? [] : values
      .filter((value) => schemaOf(contract, value) === undefined)
      .map((value) => `${contract.address} (${value})`)
  );
}
