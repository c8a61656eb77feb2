/**
 * How addresses become paths: the method and path template that a contract may give, path
 * parameters, query, and the request value that is put together of them.
 *
 * @module
 */

import { isPlainObject, PatchbayError } from "@patchbay/core";

/** The methods that a callable may be called with. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Every method. */
export const METHODS: readonly Method[] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** What an endpoint is called on this wire: `native: { rest: { … } }` of a contract or a call. */
export interface RestName {
  /** The method of a callable. Default `POST`. */
  readonly method?: Method;
  /** The path, with parameters: `/users/:id`. Default: `/` and the address. */
  readonly path?: string;
  /** The service that is called, when it is not found by itself: `https://api.example.org/v1`. */
  readonly baseUrl?: string;
  /** Sent along with each call. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What a callable's success is answered with. Default 200, or 204 for nothing. */
  readonly status?: number;
}

/** A {@link RestName} that was checked, with what follows from it. */
export interface Name extends RestName {
  /** The method. */
  readonly method: Method;
  /** The path, with parameters. */
  readonly path: string;
  /** The names of the path's parameters. */
  readonly parameters: readonly string[];
  /** Whether the request's fields are spread over path, query and body. */
  readonly spread: boolean;
}

const KEYS = ["method", "path", "baseUrl", "headers", "status"];
const SEGMENT = /^(?::[A-Za-z_][A-Za-z0-9_]*|[A-Za-z0-9_.~!$&'()+,;=@%-]+)$/;

function refuse(address: string, why: string, remedy: string): never {
  throw new PatchbayError("invalid", `${address}: native.rest ${why}`, {
    address,
    transport: "rest",
    remedy,
  });
}

/** Names of addresses that have none of their own: they are asked for with every call. */
const plain = new WeakMap<object, Map<string, Name>>();

/**
 * What an address is called here.
 *
 * @param address The address.
 * @param given What the contract or call says, if it says anything.
 * @param fallback What the configuration says.
 * @throws {PatchbayError} `invalid`: the name cannot be used.
 */
export function nameOf(
  address: string,
  given: unknown,
  fallback: Readonly<Record<string, unknown>>,
): Name {
  if (given === undefined) {
    let names = plain.get(fallback);
    if (names === undefined) plain.set(fallback, names = new Map());
    let name = names.get(address);
    if (name === undefined) names.set(address, name = readName(address, fallback[address] ?? {}));
    return name;
  }
  if (typeof given !== "object" || given === null) {
    return refuse(address, "is no object", 'write { method: "GET", path: "/users/:id" }');
  }
  return readName(address, { ...(fallback[address] as RestName | undefined), ...given });
}

function readName(address: string, given: unknown): Name {
  if (typeof given !== "object" || given === null) {
    return refuse(address, "is no object", 'write { method: "GET", path: "/users/:id" }');
  }
  const unknown = Object.keys(given).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    return refuse(address, `has an unknown key ${unknown}`, `known are ${KEYS.join(", ")}`);
  }
  const { method = "POST", path = `/${address}`, baseUrl, headers, status } = given as RestName;
  if (!METHODS.includes(method)) {
    return refuse(address, `has the method ${method}`, `one of ${METHODS.join(", ")}`);
  }
  const parameters = readTemplate(address, path);
  if (baseUrl !== undefined && !isBase(baseUrl)) {
    return refuse(address, `has the baseUrl ${baseUrl}`, "write http:// or https:// and a host");
  }
  if (status !== undefined && !(Number.isInteger(status) && status >= 200 && status < 300)) {
    return refuse(address, `has the status ${status}`, "a success is 200 to 299");
  }
  const spread = parameters.length > 0 || method === "GET" || method === "DELETE";
  return { method, path, baseUrl, headers, status, parameters, spread };
}

/**
 * Whether a text can be the base of URLs.
 *
 * @param text The text.
 */
export function isBase(text: unknown): text is string {
  return typeof text === "string" && (text.startsWith("unix:/") ||
    /^https?:$/.test(URL.parse(text)?.protocol ?? ""));
}

function readTemplate(address: string, path: string): string[] {
  const remedy = "write segments of letters, digits and `-._~`, or `:name`, each behind a `/`";
  if (typeof path !== "string" || !path.startsWith("/")) {
    return refuse(address, `has the path ${JSON.stringify(path)}`, "a path begins with `/`");
  }
  const parameters: string[] = [];
  if (path === "/") return parameters;
  for (const segment of path.slice(1).split("/")) {
    if (!SEGMENT.test(segment)) return refuse(address, `has the path ${path}`, remedy);
    if (segment.startsWith(":")) parameters.push(segment.slice(1));
  }
  if (new Set(parameters).size < parameters.length) {
    return refuse(address, `has the path ${path}`, "name each parameter once");
  }
  return parameters;
}

/** Where a request goes, and what is left of it for the body. */
export interface Spread {
  /** The path with its parameters filled in, and the query. */
  readonly path: string;
  /** What goes into the body; `undefined` for none. */
  readonly body: unknown;
}

/** Whether a value is an object whose fields can be spread. */
function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && isPlainObject(value);
}

/** A value as it stands in a path or query. */
function text(value: unknown, where: string): string {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
    case "bigint":
      return String(value);
  }
  throw new PatchbayError("invalid", `${where}: only texts, numbers and booleans go into a URL`, {
    details: { path: where },
    remedy: "send it in the body of a POST, PUT or PATCH",
  });
}

/**
 * Spreads a request over path, query and body, as its name says.
 *
 * @param name The name.
 * @param value The request.
 * @throws {PatchbayError} `invalid`: a parameter is missing, or does not go into a URL.
 */
export function spread(name: Name, value: unknown): Spread {
  if (!name.spread) return { path: name.path, body: value };
  const rest: Record<string, unknown> = {};
  if (value !== undefined && value !== null) {
    if (!isFields(value)) {
      if (name.parameters.length === 0 && name.method !== "GET") {
        return { path: name.path, body: value };
      }
      throw new PatchbayError("invalid", `request: ${name.method} ${name.path} takes an object`, {
        details: { path: "request" },
        remedy: "send an object: its fields go into path and query",
      });
    }
    Object.assign(rest, value);
  }
  let path = name.path;
  if (name.parameters.length > 0) {
    path = path.replace(/:([A-Za-z_][A-Za-z0-9_]*)/g, (_, key: string) => {
      const filled = rest[key];
      delete rest[key];
      const word = filled === undefined ? "" : text(filled, `request.${key}`);
      if (word === "" || word === "." || word === "..") {
        throw new PatchbayError("invalid", `request.${key}: the path ${name.path} needs it`, {
          details: { path: `request.${key}` },
          remedy: `send { ${key}: … }`,
        });
      }
      return encodeURIComponent(word);
    });
  }
  if (name.method !== "GET" && name.method !== "DELETE") {
    return { path, body: Object.keys(rest).length > 0 ? rest : undefined };
  }
  const query = new URLSearchParams();
  for (const [key, filled] of Object.entries(rest)) {
    if (filled === undefined) continue;
    if (!Array.isArray(filled)) query.append(key, text(filled, `request.${key}`));
    else filled.forEach((one, i) => query.append(key, text(one, `request.${key}[${i}]`)));
  }
  const search = query.toString();
  return { path: search === "" ? path : `${path}?${search}`, body: undefined };
}

/** What the JSON Schema of a field says it is, where there is one. */
export type FieldTypes = Readonly<Record<string, string>>;

/** The text of a path or query as the value that the contract's schema asks for. */
function typed(word: string, type: string | undefined): unknown {
  if (type === "number" || type === "integer") {
    const number = Number(word);
    return word.trim() !== "" && Number.isFinite(number) ? number : word;
  }
  if (type === "boolean" && (word === "true" || word === "false")) return word === "true";
  return word;
}

/**
 * Puts the request together of what came in path, query and body: parameters win over the body,
 * the body over the query.
 *
 * @param name The name.
 * @param parameters What the path's parameters are.
 * @param query The query.
 * @param body The decoded body.
 * @param types What the fields are to be.
 */
export function gather(
  name: Name,
  parameters: Readonly<Record<string, string>>,
  query: URLSearchParams,
  body: unknown,
  types: FieldTypes,
): unknown {
  if (body !== undefined && !isFields(body)) return body;
  const value: Record<string, unknown> = {};
  for (const key of new Set(query.keys())) {
    if (key === "__proto__") continue;
    const words = query.getAll(key);
    const list = words.length > 1 || types[key] === "array";
    value[key] = list ? words : typed(words[0], types[key]);
  }
  Object.assign(value, body);
  for (const key of name.parameters) value[key] = typed(parameters[key], types[key]);
  return value;
}
