/**
 * Reads the text of `.msg`, `.srv` and `.action` files.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core/errors";
import {
  type ActionDefinition,
  type ArrayShape,
  type Constant,
  type Field,
  type FieldType,
  INTEGER_BITS,
  type Literal,
  type MessageDefinition,
  PLACEHOLDER,
  type Primitive,
  type ServiceDefinition,
} from "./definition.ts";

const BASES: ReadonlySet<string> = new Set([
  ...Object.keys(INTEGER_BITS),
  "bool",
  "float32",
  "float64",
  "string",
  "wstring",
]);

const FIELD_NAME = /^[a-z](?:_?[a-z0-9]+)*_?$/i;
const CONSTANT_NAME = /^[A-Za-z]\w*$/;
const TYPE = /^([A-Za-z]\w*(?:\/[A-Za-z]\w*){0,2})(?:<=(\d+))?(?:\[(?:(<=)?(\d+))?\])?$/;

function wrong(name: string, line: number, text: string, why: string): PatchbayError {
  return new PatchbayError("invalid", `${name}, line ${line}: ${why}: ${text.trim()}`, {
    details: { interface: name, line },
  });
}

/** Takes a comment away, unless its `#` stands in quotes. */
function withoutComment(line: string): string {
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    if (quote !== "") {
      if (c === "\\") i++;
      else if (c === quote) quote = "";
    } else if (c === "#") return line.slice(0, i);
    else if ((c === '"' || c === "'") && /[=\s[,]/.test(line[i - 1] ?? " ")) quote = c;
  }
  return line;
}

/** The full name of a message that a field names. */
function fullName(written: string, packageName: string): string {
  const parts = written.split("/");
  if (parts.length === 3) return written;
  if (parts.length === 2) return `${parts[0]}/msg/${parts[1]}`;
  // A bare Header is std_msgs' wherever it stands.
  return written === "Header" ? "std_msgs/msg/Header" : `${packageName}/msg/${written}`;
}

function readType(text: string, packageName: string): FieldType | undefined {
  const match = TYPE.exec(text);
  if (match === null) return undefined;
  const [, word, stringBound, atMost, size] = match;
  const isArray = text.endsWith("]");
  const array: ArrayShape | undefined = !isArray
    ? undefined
    : size === undefined
    ? { kind: "unbounded", size: 0 }
    : { kind: atMost === undefined ? "fixed" : "bounded", size: Number(size) };
  if (array?.kind !== "unbounded" && array?.size === 0) return undefined;
  const isString = word === "string" || word === "wstring";
  if (stringBound !== undefined && !isString) return undefined;
  const bound = Number(stringBound ?? 0);
  if (!BASES.has(word)) {
    return { base: "message", message: fullName(word, packageName), stringBound: 0, array };
  }
  return { base: word as Primitive, stringBound: bound, array };
}

/** Reads a single value of a type; `undefined` if it is none. */
function readScalar(base: FieldType["base"], text: string): Literal | undefined {
  if (base === "string" || base === "wstring") return unquote(text);
  if (base === "bool") {
    if (/^(true|1)$/i.test(text)) return true;
    return /^(false|0)$/i.test(text) ? false : undefined;
  }
  const bits = INTEGER_BITS[base];
  if (bits === undefined) {
    const number = Number(text);
    return text !== "" && (Number.isFinite(number) || /^[-+]?inf|nan/i.test(text))
      ? Number.isFinite(number)
        ? number
        : /nan/i.test(text)
        ? NaN
        : text.startsWith("-")
        ? -Infinity
        : Infinity
      : undefined;
  }
  if (!/^[-+]?(\d+|0x[\da-f]+|0b[01]+|0o[0-7]+)$/i.test(text)) return undefined;
  const negative = text.startsWith("-");
  const value = BigInt(text.replace(/^[-+]/, "")) * (negative ? -1n : 1n);
  const width = BigInt(Math.abs(bits));
  const low = bits < 0 ? -(1n << (width - 1n)) : 0n;
  const high = (1n << (bits < 0 ? width - 1n : width)) - 1n;
  if (value < low || value > high) return undefined;
  return width === 64n ? value : Number(value);
}

function unquote(text: string): string {
  const quote = text[0];
  if (text.length < 2 || (quote !== '"' && quote !== "'") || text.at(-1) !== quote) return text;
  return text.slice(1, -1).replace(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c);
}

/** Cuts at the commas that stand outside quotes. */
function elements(text: string): string[] {
  return text.trim() === ""
    ? []
    : (text.match(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,]+/g) ?? []).map((each) => each.trim())
      .filter((each) => each !== "");
}

function readValue(type: FieldType, text: string): Literal | undefined {
  if (type.base === "message") return undefined;
  if (type.array === undefined) return readScalar(type.base, text);
  const list = /^\[(.*)\]$/.exec(text);
  if (list === null) return undefined;
  const values = elements(list[1]).map((each) => readScalar(type.base, each));
  if (values.includes(undefined)) return undefined;
  const { kind, size } = type.array;
  if (kind === "fixed" ? values.length !== size : kind === "bounded" && values.length > size) {
    return undefined;
  }
  return values as Literal[];
}

/**
 * Reads the text of one message.
 *
 * @param name Its full name: its package is where bare names are looked for.
 * @param text Its definition.
 * @throws {PatchbayError} `invalid`, naming the line.
 */
export function parseMessage(name: string, text: string): MessageDefinition {
  const packageName = name.split("/")[0];
  const fields: Field[] = [];
  const constants: Constant[] = [];
  const names = new Set<string>();
  for (const [index, whole] of text.split(/\r?\n/).entries()) {
    const line = withoutComment(whole).trim();
    if (line === "") continue;
    const fail = (why: string) => wrong(name, index + 1, whole, why);
    const match = /^(\S+)\s+(\w+)\s*(=?)\s*(.*)$/.exec(line);
    if (match === null) throw fail("it is neither a field nor a constant");
    const [, typeText, fieldName, equals, rest] = match;
    const type = readType(typeText, packageName);
    if (type === undefined) throw fail(`${typeText} is no type`);
    if (names.has(fieldName)) throw fail(`there is another ${fieldName}`);
    names.add(fieldName);
    if (equals === "=") {
      if (!CONSTANT_NAME.test(fieldName) || type.array !== undefined) {
        throw fail("this can be no constant");
      }
      const value = readValue(type, rest);
      if (value === undefined) throw fail(`${rest} is no ${typeText}`);
      constants.push({ name: fieldName, type, value });
      continue;
    }
    if (!FIELD_NAME.test(fieldName)) throw fail(`${fieldName} is no name for a field`);
    if (rest === "") {
      fields.push({ name: fieldName, type });
      continue;
    }
    const value = readValue(type, rest);
    if (value === undefined) throw fail(`${rest} is no ${typeText}`);
    fields.push({ name: fieldName, type, default: value });
  }
  if (fields.length === 0) {
    fields.push({ name: PLACEHOLDER, type: { base: "uint8", stringBound: 0 } });
  }
  return { name, fields, constants };
}

function parts(name: string, text: string, count: number): string[] {
  const found = text.split(/^---[ \t]*(?:#.*)?$/m);
  if (found.length === count) return found;
  throw new PatchbayError(
    "invalid",
    `${name} has ${found.length - 1} lines of --- and needs ${count - 1}`,
    { details: { interface: name } },
  );
}

/** Reads the text of a service: request and response, with `---` between. */
export function parseService(name: string, text: string): ServiceDefinition {
  const [request, response] = parts(name, text, 2);
  return {
    name,
    request: parseMessage(`${name}_Request`, request),
    response: parseMessage(`${name}_Response`, response),
  };
}

/** Reads the text of an action: goal, result and feedback, with `---` between. */
export function parseAction(name: string, text: string): ActionDefinition {
  const [goal, result, feedback] = parts(name, text, 3);
  return {
    name,
    goal: parseMessage(`${name}_Goal`, goal),
    result: parseMessage(`${name}_Result`, result),
    feedback: parseMessage(`${name}_Feedback`, feedback),
  };
}
