/**
 * ROS 2's interfaces: their definitions, their encoding (CDR), their hashes (RIHS01), and the
 * TypeScript types that follow from them.
 *
 * @module
 */

export type {
  ActionDefinition,
  ArrayShape,
  Constant,
  Field,
  FieldType,
  Literal,
  MessageDefinition,
  Primitive,
  ServiceDefinition,
} from "./definition.ts";
export { parseAction, parseMessage, parseService } from "./parser.ts";
export {
  type ActionType,
  ddsName,
  fullName,
  type MessageType,
  type ServiceType,
  Types,
  type TypesOptions,
} from "./registry.ts";
export {
  amentSource,
  commonInterfaces,
  commonSource,
  folderSource,
  inlineSource,
  type InterfaceSource,
} from "./sources.ts";
export { typescriptOf } from "./typescript.ts";
export type { Codec, TakeBytes } from "./walking_codec.ts";
