/**
 * What an interface is made of, once its text has been read.
 *
 * @module
 */

/** The types that are not made of others. `byte` and `char` are unsigned and eight bits wide. */
export type Primitive =
  | "bool"
  | "byte"
  | "char"
  | "int8"
  | "uint8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "float32"
  | "float64";

/** How many elements a field has. */
export interface ArrayShape {
  /** Always so many, at most so many, or any number. */
  readonly kind: "fixed" | "bounded" | "unbounded";
  /** That number; 0 for any. */
  readonly size: number;
}

/** The type of a field. */
export interface FieldType {
  /** A primitive, a string, or another message. */
  readonly base: Primitive | "string" | "wstring" | "message";
  /** The message's full name, such as `std_msgs/msg/Header`, where `base` is `message`. */
  readonly message?: string;
  /** The longest string, in characters; 0: any. */
  readonly stringBound: number;
  /** Set for arrays and sequences. */
  readonly array?: ArrayShape;
}

/** A value as it can stand in a definition. */
export type Literal = boolean | number | bigint | string | readonly Literal[];

/** One field. */
export interface Field {
  /** Its name. */
  readonly name: string;
  /** Its type. */
  readonly type: FieldType;
  /** What it is when nothing is said. */
  readonly default?: Literal;
}

/** One constant. */
export interface Constant {
  /** Its name. */
  readonly name: string;
  /** Its type. */
  readonly type: FieldType;
  /** Its value. */
  readonly value: Literal;
}

/** A message. */
export interface MessageDefinition {
  /** Its full name: `std_msgs/msg/String`, `std_srvs/srv/SetBool_Request`. */
  readonly name: string;
  /** Its fields, in order. */
  readonly fields: readonly Field[];
  /** Its constants, in order. */
  readonly constants: readonly Constant[];
}

/** A service. */
export interface ServiceDefinition {
  /** Its full name, such as `std_srvs/srv/SetBool`. */
  readonly name: string;
  /** What is asked. */
  readonly request: MessageDefinition;
  /** What is answered. */
  readonly response: MessageDefinition;
}

/** An action. */
export interface ActionDefinition {
  /** Its full name, such as `example_interfaces/action/Fibonacci`. */
  readonly name: string;
  /** What is to be done. */
  readonly goal: MessageDefinition;
  /** What came of it. */
  readonly result: MessageDefinition;
  /** How far it has got. */
  readonly feedback: MessageDefinition;
}

/** The bits of integers, signed ones negative. */
export const INTEGER_BITS: Readonly<Partial<Record<FieldType["base"], number>>> = {
  byte: 8,
  char: 8,
  uint8: 8,
  int8: -8,
  uint16: 16,
  int16: -16,
  uint32: 32,
  int32: -32,
  uint64: 64,
  int64: -64,
};

/** How many bytes a primitive takes in CDR, which is also what it is aligned to. */
export const PRIMITIVE_BYTES: Readonly<Record<Primitive, 1 | 2 | 4 | 8>> = {
  bool: 1,
  byte: 1,
  char: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  float32: 4,
  float64: 8,
};

/** The field that a message without any has on the wire, since a structure must have one. */
export const PLACEHOLDER = "structure_needs_at_least_one_member";
