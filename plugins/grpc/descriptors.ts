/**
 * Files of descriptors, as reflection gives them: what protobufjs writes, with what it leaves out
 * (which file needs which, and which fields are `optional`).
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import protobuf from "npm:protobufjs@7.6.6";
import descriptor from "npm:protobufjs@7.6.6/ext/descriptor/index.js";
import type { ProtoFile } from "./proto_file.ts";

/** A file of descriptors: `google/protobuf/descriptor.proto`. */
export interface DescribedFile {
  /** Its name. */
  readonly name: string;
  /** The files it needs, by name. */
  readonly needs: readonly string[];
  /** Its bytes. */
  readonly bytes: Buffer;
  /** The full names of what stands in it. */
  readonly symbols: readonly string[];
  /** The full names of its services. */
  readonly services: readonly string[];
}

interface Field {
  readonly name: string;
  typeName?: string;
  readonly oneofIndex?: number;
  proto3Optional?: boolean;
}

interface Message {
  name: string;
  readonly options?: { readonly mapEntry?: boolean };
  readonly field?: readonly Field[];
  readonly nestedType?: readonly Message[];
  readonly enumType?: readonly Enum[];
  readonly oneofDecl?: readonly { readonly name: string }[];
}

interface Enum {
  readonly name: string;
  readonly value?: readonly { readonly name: string }[];
}

interface Service {
  readonly name: string;
  readonly method?: readonly {
    readonly name: string;
    readonly inputType: string;
    readonly outputType: string;
  }[];
}

interface File {
  name: string;
  readonly package?: string;
  dependency?: string[];
  readonly messageType?: readonly Message[];
  readonly enumType?: readonly Enum[];
  readonly service?: readonly Service[];
}

/** What the extension of protobufjs adds to a root. */
interface Describing {
  toDescriptor(edition: string): { readonly file: File[] };
}

const { FileDescriptorProto } = descriptor as unknown as { FileDescriptorProto: protobuf.Type };

/**
 * The files that describe a `.proto` and what it imports.
 *
 * @param proto The `.proto`.
 */
export function describe(proto: ProtoFile): DescribedFile[] {
  const { file: files } = (proto.root as unknown as Describing).toDescriptor("proto3");
  // A root gathers what has no name of its own; protobufjs calls an empty one that, too.
  const full = files.filter((file) => contents(file).length > 0);
  for (const file of full) {
    for (const message of file.messageType ?? []) mend(message, file.package, proto.root);
  }
  const homes = new Map<string, File>();
  for (const file of full) for (const symbol of contents(file)) homes.set(symbol, file);
  return full.map((file) => {
    const needed = new Set<string>();
    for (const name of references(file)) {
      const home = homes.get(absolute(name, file, homes));
      if (home !== undefined && home !== file) needed.add(home.name);
    }
    file.dependency = [...needed];
    return {
      name: file.name,
      needs: file.dependency,
      bytes: FileDescriptorProto.encode(file as never).finish() as Buffer,
      symbols: contents(file),
      services: (file.service ?? []).map(({ name }) => qualified(file.package, name)),
    };
  });
}

function qualified(scope: string | undefined, name: string): string {
  return scope ? `${scope}.${name}` : name;
}

function contents(file: File): string[] {
  const { package: scope } = file;
  return [
    ...(file.messageType ?? []).flatMap((message) => inMessage(message, scope)),
    ...(file.enumType ?? []).flatMap((one) => inEnum(one, scope)),
    ...(file.service ?? []).flatMap(({ name, method = [] }) => {
      const full = qualified(scope, name);
      return [full, ...method.map((one) => `${full}.${one.name}`)];
    }),
  ];
}

function inMessage(message: Message, scope: string | undefined): string[] {
  const full = qualified(scope, message.name);
  return [
    full,
    ...(message.field ?? []).map(({ name }) => `${full}.${name}`),
    ...(message.nestedType ?? []).flatMap((nested) => inMessage(nested, full)),
    ...(message.enumType ?? []).flatMap((one) => inEnum(one, full)),
  ];
}

function inEnum({ name, value = [] }: Enum, scope: string | undefined): string[] {
  // The values of an enumeration are its siblings, not its children.
  return [qualified(scope, name), ...value.map((one) => qualified(scope, one.name))];
}

function* references(file: File): Generator<string> {
  function* within(message: Message): Generator<string> {
    for (const { typeName } of message.field ?? []) if (typeName) yield typeName;
    for (const nested of message.nestedType ?? []) yield* within(nested);
  }
  for (const message of file.messageType ?? []) yield* within(message);
  for (const { method = [] } of file.service ?? []) {
    for (const { inputType, outputType } of method) yield* [inputType, outputType];
  }
}

/** A name may be relative: then the nearest scope that has it counts. */
function absolute(name: string, file: File, homes: ReadonlyMap<string, File>): string {
  if (name.startsWith(".")) return name.slice(1);
  for (let scope = file.package ?? ""; scope !== ""; scope = scope.replace(/\.?[^.]*$/, "")) {
    if (homes.has(`${scope}.${name}`)) return `${scope}.${name}`;
  }
  return name;
}

/** Puts right what protobufjs writes otherwise than protoc does. */
function mend(message: Message, scope: string | undefined, root: protobuf.Root): void {
  const { field = [], oneofDecl = [], nestedType = [] } = message;
  const full = qualified(scope, message.name);
  const type = root.lookup(`.${full}`);
  const entries = nestedType.filter(({ options }) => options?.mapEntry === true);
  for (const one of field) {
    // `optional` is a oneof of one field, which begins with `_`.
    const oneof = Object.hasOwn(one, "oneofIndex") ? oneofDecl[one.oneofIndex ?? -1] : undefined;
    if (oneof?.name === `_${one.name}`) one.proto3Optional = true;
    if (type instanceof protobuf.Type && type.fields[one.name] instanceof protobuf.MapField) {
      // The entries stand in the order of their fields.
      const entry = entries.shift();
      if (entry === undefined) continue;
      entry.name = entryName(one.name);
      one.typeName = `.${full}.${entry.name}`;
    }
  }
  for (const nested of nestedType) mend(nested, full, root);
}

/** What protoc calls the entries of a map: `my_map` has `MyMapEntry`. */
function entryName(field: string): string {
  const camel = field.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  return `${camel.replaceAll("_", "")}Entry`;
}
