/**
 * TypeScript types of a `.proto`: an interface for each message, a union for each enumeration, and
 * for each service what its client and its handlers are typed with.
 *
 * @module
 */

import protobuf from "npm:protobufjs@7.6.6";
import type { ProtoFile } from "./proto_file.ts";

/** What scalars look like to handlers, and what may be sent. */
const SCALARS: Readonly<Record<string, string>> = {
  string: "string",
  bool: "boolean",
  bytes: "Uint8Array",
  double: "number",
  float: "number",
  int32: "number",
  uint32: "number",
  sint32: "number",
  fixed32: "number",
  sfixed32: "number",
};
/** Decimal text: what comes. What is sent may be a number or bigint as well. */
const LONG = "string";
const LONG_INPUT = "bigint | number | string";

/**
 * Writes the types.
 *
 * @param proto The `.proto`.
 * @param source What it is called in the first line.
 */
export function typesOf(proto: ProtoFile, source: string): string {
  const parts = [...everything(proto.root)];
  const lines = [
    `// Generated from ${source} by \`deno task proto\`; do not edit.`,
    "",
  ];
  for (const part of parts) {
    if (part instanceof protobuf.Enum) lines.push(...enumOf(part), "");
    else if (part instanceof protobuf.Type) lines.push(...messageOf(part), "");
    else if (part instanceof protobuf.Service) lines.push(...serviceOf(part), "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function* everything(namespace: protobuf.NamespaceBase): Generator<protobuf.ReflectionObject> {
  for (const nested of namespace.nestedArray) {
    yield nested;
    if (nested instanceof protobuf.Namespace || nested instanceof protobuf.Type) {
      yield* everything(nested);
    }
  }
}

/** The name with the messages that it lies in, without packages; empty for a package. */
function shortName(object: protobuf.ReflectionObject): string {
  const parts: string[] = [];
  for (
    let one: protobuf.ReflectionObject | null = object;
    one instanceof protobuf.Type || one instanceof protobuf.Enum || one instanceof protobuf.Service;
    one = one.parent
  ) parts.unshift(one.name);
  return parts.join("_");
}

/** The name in TypeScript: the packages are left out, unless two would be called the same. */
function nameOf(object: protobuf.ReflectionObject): string {
  const short = shortName(object);
  const twins = [...everything(object.root)].filter((other) => shortName(other) === short);
  return twins.length > 1 ? object.fullName.slice(1).replaceAll(".", "_") : short;
}

function comment(text: string | null | undefined, otherwise: string, indent = ""): string {
  const said = (text ?? "").trim().replaceAll("*/", "* /").replace(/\s*\n\s*/g, " ");
  return `${indent}/** ${said === "" ? otherwise : said} */`;
}

function enumOf(type: protobuf.Enum): string[] {
  const names = Object.keys(type.values).map((name) => JSON.stringify(name));
  return [
    comment(type.comment, `\`${type.fullName.slice(1)}\`.`),
    `export type ${nameOf(type)} = ${names.join(" | ")};`,
  ];
}

function messageOf(type: protobuf.Type): string[] {
  const name = nameOf(type);
  const full = `\`${type.fullName.slice(1)}\``;
  const output = type.fieldsArray.map((field) => [
    comment(field.comment, `Field ${field.id}.`, "  "),
    `  readonly ${key(field.name)}${optional(field) ? "?" : ""}: ${fieldType(field, "output")};`,
  ]);
  const input = type.fieldsArray.map((field) => [
    comment(field.comment, `Field ${field.id}.`, "  "),
    `  readonly ${key(field.name)}?: ${fieldType(field, "input")};`,
  ]);
  return [
    comment(type.comment, `${full}.`),
    `export interface ${name} {`,
    ...output.flat(),
    "}",
    "",
    `/** ${full}, as it may be sent: what is left out has its default. */`,
    `export interface ${name}Input {`,
    ...input.flat(),
    "}",
  ];
}

function key(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

/** Whether a field may be missing in what comes. */
function optional(field: protobuf.Field): boolean {
  return field.partOf !== null && !field.repeated;
}

type Side = "input" | "output";

function fieldType(field: protobuf.Field, side: Side): string {
  field.resolve();
  const one = oneType(field, side);
  if (field instanceof protobuf.MapField) return `Readonly<Record<string, ${one}>>`;
  if (field.repeated) return `readonly ${one.includes("|") ? `(${one})` : one}[]`;
  // A message that was not sent is null.
  const message = field.resolvedType instanceof protobuf.Type;
  return message && !optional(field) ? `${one} | null` : one;
}

function oneType({ resolvedType, type }: protobuf.Field, side: Side): string {
  if (resolvedType instanceof protobuf.Enum) return `${nameOf(resolvedType)} | number`;
  if (resolvedType !== null) return nameOf(resolvedType) + (side === "input" ? "Input" : "");
  return SCALARS[type] ?? (side === "input" ? LONG_INPUT : LONG);
}

function serviceOf(service: protobuf.Service): string[] {
  const name = nameOf(service);
  const full = `\`${service.fullName.slice(1)}\``;
  const client: string[] = [];
  const handlers: string[] = [];
  for (const method of service.methodsArray) {
    method.resolve();
    const request = nameOf(method.resolvedRequestType as protobuf.Type);
    const response = nameOf(method.resolvedResponseType as protobuf.Type);
    const { requestStream = false, responseStream = false } = method;
    const said = comment(method.comment, `\`${method.name}\`.`, "  ");
    client.push(
      said,
      `  readonly ${method.name}: {`,
      `    readonly request: ${request}Input;`,
      `    readonly response: ${response};`,
      `    readonly requestStream: ${requestStream};`,
      `    readonly responseStream: ${responseStream};`,
      "  };",
    );
    const taken = requestStream ? `AsyncIterable<${request}>` : request;
    const given = responseStream
      ? `AsyncIterable<${response}Input>`
      : `${response}Input | Promise<${response}Input>`;
    handlers.push(said, `  ${method.name}(request: ${taken}, context: MethodContext): ${given};`);
  }
  return [
    `/** ${full} for a client: \`ServiceClient.connect<${name}>\`. */`,
    `export interface ${name} {`,
    ...client,
    "}",
    "",
    `/** ${full} for a server: what answers its methods. */`,
    `export interface ${name}Handlers {`,
    ...handlers,
    "}",
  ];
}
