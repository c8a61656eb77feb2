/**
 * Evaluates the constant expressions that stand in array lengths and enumerators.
 *
 * @module
 */

import type { Token } from "./cpp_tokens.ts";
import { sourceError } from "./source_error.ts";

/** What an expression may refer to. */
export interface Names {
  /** The value of a constant or enumerator; `undefined` if there is none of that name. */
  constant(name: string): bigint | undefined;
  /** The bytes of a type; `undefined` if there is none of that name. */
  sizeOf(type: string): number | undefined;
}

const PRECEDENCE: Readonly<Record<string, number>> = {
  "|": 1,
  "^": 2,
  "&": 3,
  "<<": 4,
  ">>": 4,
  "+": 5,
  "-": 5,
  "*": 6,
  "/": 6,
  "%": 6,
};

/**
 * The value of an expression.
 *
 * @param tokens The expression, and nothing else.
 * @param names What it may refer to.
 * @throws `invalid` with the place, where it is not a constant integer.
 */
export function evaluate(tokens: readonly Token[], names: Names): bigint {
  let at = 0;
  const fail = (token: Token, what: string): never => {
    throw sourceError(token, what, "write the number itself");
  };
  const peek = (): Token | undefined => tokens[at];
  const next = (): Token => tokens[at++] ?? fail(tokens[tokens.length - 1], "a number is missing");

  const atom = (): bigint => {
    const token = next();
    if (token.kind === "number") return number(token);
    if (token.kind === "character") return character(token);
    if (token.text === "-") return -atom();
    if (token.text === "+") return atom();
    if (token.text === "~") return ~atom();
    if (token.text === "(") return closed(binary(1));
    if (token.text === "sizeof") {
      if (next().text !== "(") fail(token, "sizeof wants parentheses");
      const type = qualified(next());
      const bytes = names.sizeOf(type);
      if (bytes === undefined) fail(token, `the size of ${type} is not known here`);
      return closed(BigInt(bytes!));
    }
    if (token.kind === "name") {
      const name = qualified(token);
      return names.constant(name) ?? fail(token, `${name} is not a constant that is known here`);
    }
    return fail(token, `“${token.text}” is not part of a constant expression`);
  };
  const closed = (value: bigint): bigint => {
    const token = next();
    return token.text === ")" ? value : fail(token, "a ) is missing");
  };
  const qualified = (token: Token): string => {
    let name = token.text;
    while (peek()?.text === "::") {
      at++;
      name = next().text; // Names are unique over all namespaces here.
    }
    return name;
  };
  const binary = (least: number): bigint => {
    let left = atom();
    for (;;) {
      const operator = peek();
      const precedence = operator ? PRECEDENCE[operator.text] : undefined;
      if (!operator || precedence === undefined || precedence < least) return left;
      at++;
      left = apply(operator, left, binary(precedence + 1), fail);
    }
  };

  const value = binary(1);
  const left = peek();
  return left ? fail(left, `“${left.text}” is not expected here`) : value;
}

function apply(
  operator: Token,
  a: bigint,
  b: bigint,
  fail: (token: Token, what: string) => never,
): bigint {
  switch (operator.text) {
    case "|":
      return a | b;
    case "^":
      return a ^ b;
    case "&":
      return a & b;
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "<<":
    case ">>":
      if (b < 0n || b > 63n) return fail(operator, "a shift by that much is not defined");
      return operator.text === "<<" ? a << b : a >> b;
    default:
      if (b === 0n) return fail(operator, "this divides by zero");
      return operator.text === "/" ? a / b : a % b;
  }
}

/** An integer literal: decimal, hexadecimal, octal or binary, with separators and suffix. */
function number(token: Token): bigint {
  const digits = token.text.replaceAll("'", "").replace(/[uUlLzZ]+$/, "");
  if (/^0[0-7]+$/.test(digits)) return BigInt(`0o${digits.slice(1)}`);
  if (/^(?:\d+|0[xX][\da-fA-F]+|0[bB][01]+)$/.test(digits)) return BigInt(digits);
  throw sourceError(token, `“${token.text}” is not an integer`, "write an integer");
}

function character(token: Token): bigint {
  const inner = token.text.slice(1, -1);
  const escapes: Record<string, number> = {
    n: 10,
    t: 9,
    r: 13,
    "0": 0,
    "\\": 92,
    "'": 39,
    '"': 34,
  };
  const code = inner.length === 2 && inner[0] === "\\" ? escapes[inner[1]] : inner.charCodeAt(0);
  if (inner.length > 2 || code === undefined || (inner.length === 2 && inner[0] !== "\\")) {
    throw sourceError(token, `${token.text} is not one character`, "write its number");
  }
  return BigInt(code);
}
