/**
 * Reads frame definitions from a C++ header: a frame enumeration, plain structs, and the macro
 * calls that tie them together. What a frame cannot hold is an error that says what to write.
 *
 * @module
 */

import { evaluate, type Names } from "./cpp_expression.ts";
import { type Token, tokenize } from "./cpp_tokens.ts";
import { insteadOf, scalarOf, TYPE_WORDS } from "./cpp_types.ts";
import {
  type Enum,
  type EnumValue,
  type Field,
  type FieldType,
  INTEGER_RANGE,
  type Scalar,
  SCALAR_BYTES,
  type Struct,
  structBytes,
} from "./definitions.ts";
import { type Place, sourceError } from "./source_error.ts";

/** A frame type tied to a struct by `R2D2_INTERNAL_FRAME_HELPER`. */
export interface Tie {
  /** The struct. */
  readonly struct: string;
  /** The enumerator. */
  readonly frame: string;
  /** Where. */
  readonly place: Place;
}

/** What the headers hold, before it is checked as a whole. */
export interface HeaderContents {
  /** By name. */
  readonly enums: Map<string, Enum>;
  /** By name. */
  readonly structs: Map<string, Struct>;
  /** In the order of the source. */
  readonly ties: Tie[];
  /** Structs that depend on a parameter, which are no frames. */
  readonly templates: Map<string, Place>;
  /** Where each name was defined. */
  readonly places: Map<string, Place>;
  /** Included files that were not found. */
  readonly missing: string[];
}

/** Gives the text of an included file and how to name it; `undefined` if it is not there. */
export type ReadInclude = (
  name: string,
  from: string,
) => { file: string; text: string } | undefined;

const TIE = "R2D2_INTERNAL_FRAME_HELPER";
const MAX_INCLUDES = 64;
/** What begins a function in a struct, where a type would begin a field. */
const NO_FIELD: ReadonlySet<string> = new Set([
  "~",
  "explicit",
  "friend",
  "inline",
  "operator",
  "template",
  "virtual",
]);

/**
 * Reads a header and what it includes.
 *
 * @param file How errors name it.
 * @param text Its content.
 * @param readInclude Finds files named by `#include "…"`.
 */
export function readHeader(file: string, text: string, readInclude: ReadInclude): HeaderContents {
  const contents: HeaderContents = {
    enums: new Map(),
    structs: new Map(),
    ties: [],
    templates: new Map(),
    places: new Map(),
    missing: [],
  };
  new HeaderReader(contents, readInclude, new Map(), new Map(), new Set([file])).read(file, text);
  return contents;
}

class HeaderReader {
  #tokens: Token[] = [];
  #at = 0;
  readonly #names: Names;

  constructor(
    readonly contents: HeaderContents,
    readonly readInclude: ReadInclude,
    readonly constants: Map<string, bigint>,
    readonly aliases: Map<string, FieldType>,
    readonly seen: Set<string>,
  ) {
    this.#names = {
      constant: (name) => this.constants.get(name),
      sizeOf: (name) => {
        const type = this.#lookUp(name);
        return type ? this.#bytes(type) : undefined;
      },
    };
  }

  read(file: string, text: string): void {
    this.#tokens = tokenize(text, file);
    this.#at = 0;
    this.#declarations("end");
  }

  #peek(ahead = 0): Token {
    return this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)];
  }

  #next(): Token {
    return this.#tokens[this.#at < this.#tokens.length - 1 ? this.#at++ : this.#at];
  }

  #take(text: string): boolean {
    if (this.#peek().text !== text) return false;
    this.#at++;
    return true;
  }

  #expect(text: string, after: string): Token {
    const token = this.#next();
    if (token.text === text) return token;
    const found = token.kind === "end" ? "the file ends" : `“${token.text}” stands`;
    throw sourceError(token, `${found} where “${text}” should, after ${after}`);
  }

  /** Declarations up to `}` or the end of the file. */
  #declarations(until: "}" | "end"): void {
    for (;;) {
      const token = this.#peek();
      if (token.kind === "end") {
        if (until === "end") return;
        throw sourceError(token, "a } is missing: the file ends inside a namespace");
      }
      if (token.text === until) return;
      this.#declaration(token);
    }
  }

  #declaration(token: Token): void {
    if (token.kind === "directive") return this.#directive(this.#next());
    switch (token.text) {
      case ";":
        this.#at++;
        return;
      case "namespace":
        return this.#namespace();
      case "template":
        return this.#skipTemplate();
      case "using":
      case "typedef":
        return this.#alias();
      case "enum":
        return this.#enum(token.doc);
      case "struct":
        return this.#struct(token.doc);
      case "class":
      case "union":
        throw sourceError(
          token,
          `a ${token.text} cannot be a frame`,
          insteadOf(token.text) ?? "write a plain struct",
        );
      case "static_assert":
        this.#at++;
        this.#balanced("(", ")");
        this.#take(";");
        return;
      case "[[":
        return this.#skipTo("]]");
      case "constexpr":
      case "const":
      case "static":
      case "inline":
        return this.#constantOrSkip();
      case TIE:
        return this.#tie();
    }
    if (token.kind === "name" && /^[A-Z][A-Z0-9_]*$/.test(token.text)) return this.#macro();
    throw sourceError(
      token,
      `“${token.text}” begins something that is no enum, plain struct, constant or ${TIE}`,
      "keep only definitions in this file, and code in another",
    );
  }

  #directive(token: Token): void {
    const text = token.text.replace(/\\\n/g, " ").slice(1).trim();
    const include = /^include\s+"([^"]+)"/.exec(text);
    if (include) return this.#include(include[1], token);
    const define = /^define\s+(\w+)\s+(.+)$/s.exec(text);
    if (define) {
      try {
        const value = tokenize(define[2], token.file).slice(0, -1);
        this.constants.set(define[1], evaluate(value, this.#names));
      } catch {
        // Not a number: some macro for the compiler, which says nothing about layouts.
      }
      return;
    }
    if (!/^(?:if|ifdef|ifndef)\b/.test(text)) return; // pragma, endif, include <…>, undef
    // Layouts must not depend on the compiler: what a condition encloses may only be macros. An
    // include guard encloses the whole file, and is none.
    const guard = /^(?:ifndef\s+(\w+)|if\s+!\s*defined\s*\(?\s*(\w+)\s*\)?)$/.exec(text);
    const name = guard?.[1] ?? guard?.[2];
    if (name && new RegExp(`^#\\s*define\\s+${name}\\b`).test(this.#peek().text)) return;
    for (let depth = 1; depth > 0;) {
      const next = this.#next();
      if (next.kind === "end") throw sourceError(token, "this condition has no #endif");
      if (next.kind !== "directive") {
        throw sourceError(
          next,
          "a definition under a condition: the two sides could lay it out differently",
          "define it without #if",
        );
      }
      if (/^#\s*(?:if|ifdef|ifndef)\b/.test(next.text)) depth++;
      if (/^#\s*endif\b/.test(next.text)) depth--;
    }
  }

  #include(name: string, token: Token): void {
    const found = this.readInclude(name, token.file);
    if (!found) {
      this.contents.missing.push(name);
      return;
    }
    if (this.seen.has(found.file)) return;
    if (this.seen.size >= MAX_INCLUDES) {
      throw sourceError(token, `more than ${MAX_INCLUDES} files are included`);
    }
    this.seen.add(found.file);
    new HeaderReader(
      this.contents,
      this.readInclude,
      this.constants,
      this.aliases,
      this.seen,
    ).read(found.file, found.text);
  }

  #namespace(): void {
    this.#at++;
    while (this.#peek().kind === "name" || this.#peek().text === "::") this.#at++;
    this.#expect("{", "the namespace");
    this.#declarations("}");
    this.#expect("}", "the namespace's content");
  }

  /** Templates describe no layout of their own. */
  #skipTemplate(): void {
    const start = this.#next();
    let depth = 0;
    let before = start;
    for (let token = this.#next(); token.kind !== "end"; before = token, token = this.#next()) {
      if (before.text === "struct" && token.kind === "name" && depth === 0) {
        this.contents.templates.set(token.text, token);
      }
      if (token.text === "{") depth++;
      if (token.text === "}") depth--;
      if (token.text === ";" && depth === 0) return;
    }
    throw sourceError(start, "this template has no end");
  }

  #skipTo(text: string): void {
    const start = this.#peek();
    for (let token = this.#next(); token.kind !== "end"; token = this.#next()) {
      if (token.text === text) return;
    }
    throw sourceError(start, `a “${text}” is missing`);
  }

  /** What stands between two brackets, which may be nested. */
  #balanced(open: string, close: string): Token[] {
    const start = this.#expect(open, "this");
    const inside: Token[] = [];
    for (let depth = 1;;) {
      const token = this.#next();
      if (token.kind === "end") throw sourceError(start, `this ${open} has no ${close}`);
      if (token.text === open) depth++;
      if (token.text === close && --depth === 0) return inside;
      inside.push(token);
    }
  }

  #alias(): void {
    const keyword = this.#next();
    if (keyword.text === "using") {
      if (this.#take("namespace")) return this.#skipTo(";");
      const name = this.#next().text;
      if (!this.#take("=")) return this.#skipTo(";"); // using std::uint8_t;
      const type = this.#type(`the alias ${name}`);
      this.aliases.set(name, type);
    } else {
      if (["struct", "enum", "union"].includes(this.#peek().text)) {
        const { text } = this.#peek();
        throw sourceError(keyword, `a typedef of a ${text}`, `write ${text} name { … };`);
      }
      const type = this.#type("the typedef");
      this.aliases.set(this.#next().text, type);
    }
    this.#expect(";", "the alias");
  }

  #constantOrSkip(): void {
    const start = this.#peek();
    const declaration: Token[] = [];
    while (this.#peek().text !== ";") {
      const token = this.#next();
      if (token.text === "{" || token.kind === "end") {
        throw sourceError(start, "code stands among the definitions", "put it into another file");
      }
      declaration.push(token);
    }
    this.#at++;
    const equals = declaration.findIndex((token) => token.text === "=");
    if (equals < 1) return;
    const name = declaration[equals - 1].text;
    try {
      this.constants.set(name, evaluate(declaration.slice(equals + 1), this.#names));
    } catch {
      // A constant that is no integer; an array length that uses it says so.
    }
  }

  #enum(doc: string): void {
    this.#at++;
    if (!this.#take("class")) this.#take("struct");
    const name = this.#next();
    if (name.kind !== "name") {
      throw sourceError(name, "an enum without a name", "give it a name");
    }
    let scalar: Scalar | undefined;
    if (this.#take(":")) {
      const place = this.#peek();
      const type = this.#type(`the enum ${name.text}`);
      if (type.kind !== "scalar" || !INTEGER_RANGE.has(type.scalar)) {
        throw sourceError(place, `an enum of this type`, "write an integer type, such as uint8_t");
      }
      scalar = type.scalar;
    }
    if (this.#take(";")) return; // A forward declaration.
    const values = this.#enumerators(name.text);
    this.#expect(";", `the enum ${name.text}`);
    if (!scalar) {
      throw sourceError(
        name,
        `how large the enum ${name.text} is depends on the compiler`,
        `write enum ${name.text} : uint8_t`,
      );
    }
    const [least, most] = INTEGER_RANGE.get(scalar)!;
    for (const { name: each, value } of values) {
      if (value < least || value > most) {
        throw sourceError(name, `${name.text}::${each} = ${value} does not fit into ${scalar}`);
      }
    }
    this.#define(name);
    this.contents.enums.set(name.text, { name: name.text, scalar, values, doc });
  }

  #enumerators(enumName: string): EnumValue[] {
    this.#expect("{", `enum ${enumName}`);
    const values: EnumValue[] = [];
    let following = 0n;
    while (!this.#take("}")) {
      const token = this.#next();
      if (token.kind === "directive") continue;
      if (token.kind !== "name") {
        throw sourceError(token, `“${token.text}” is no name of a value of ${enumName}`);
      }
      let value = following;
      if (this.#take("=")) {
        const expression: Token[] = [];
        while (![",", "}"].includes(this.#peek().text)) expression.push(this.#next());
        if (expression.length === 0) throw sourceError(token, "a number is missing after =");
        value = evaluate(expression, this.#names);
      }
      if (values.some((each) => each.name === token.text)) {
        throw sourceError(token, `${enumName}::${token.text} is there twice`);
      }
      const comma = this.#peek();
      this.#take(",");
      const doc = token.doc || token.trailing || comma.trailing || "";
      values.push({ name: token.text, value, doc });
      this.constants.set(token.text, value);
      following = value + 1n;
    }
    return values;
  }

  #struct(doc: string): void {
    this.#at++;
    this.#attributes();
    const name = this.#next();
    if (name.kind !== "name") {
      throw sourceError(name, "a struct without a name", `write struct frame_x_s { … };`);
    }
    if (this.#take(";")) return; // A forward declaration.
    if (this.#peek().text === ":") {
      throw sourceError(
        this.#peek(),
        `${name.text} inherits from another struct`,
        "write the other struct's fields here, or a field of that struct",
      );
    }
    this.#expect("{", `struct ${name.text}`);
    const fields: Field[] = [];
    while (!this.#take("}")) this.#member(name.text, fields);
    this.#attributes();
    this.#expect(";", `struct ${name.text}`);
    this.#define(name);
    this.contents.structs.set(name.text, { name: name.text, fields, doc });
  }

  #attributes(): void {
    for (;;) {
      if (this.#peek().text === "[[") this.#skipTo("]]");
      else if (this.#take("__attribute__")) this.#balanced("(", ")");
      else return;
    }
  }

  #member(struct: string, fields: Field[]): void {
    const first = this.#peek();
    if (first.kind === "end") throw sourceError(first, `the struct ${struct} has no }`);
    if (first.kind === "directive") {
      throw sourceError(first, "a condition inside a struct", "define each field without #if");
    }
    const refuse = (token: Token, what: string, instead: string) =>
      sourceError(token, `${struct} ${what}`, instead);
    if (["struct", "union", "enum", "class"].includes(first.text)) {
      throw refuse(first, `defines a ${first.text} inside`, "define it before, with a name");
    }
    if (["public", "private", "protected"].includes(first.text)) {
      throw refuse(
        first,
        `says ${first.text}`,
        "leave that out: whoever gets a frame reads all of it",
      );
    }
    if (NO_FIELD.has(first.text) || (first.text === struct && this.#peek(1).text === "(")) {
      throw refuse(first, "has a function", "keep frames plain, and write functions elsewhere");
    }
    if (["static", "constexpr"].includes(first.text)) return this.#constantOrSkip();
    this.#attributes();
    const typePlace = this.#peek();
    const type = this.#type(`a field of ${struct}`, typePlace);
    for (;;) {
      const token = this.#next();
      if (token.text === "*" || token.text === "&") {
        throw refuse(
          token,
          "holds a pointer",
          "write the value itself: an address means nothing there",
        );
      }
      if (token.text === "(" || this.#peek().text === "(") {
        throw refuse(token, "has a function", "keep frames plain, and write functions elsewhere");
      }
      if (token.kind !== "name") {
        throw sourceError(token, `“${token.text}” is no name of a field of ${struct}`);
      }
      if (fields.some((field) => field.name === token.text)) {
        throw refuse(token, `has ${token.text} twice`, "give one of them another name");
      }
      if (this.#peek().text === ":") {
        throw refuse(
          token,
          `has the bit field ${token.text}`,
          "write a uint8_t and masks, or one bool for each bit: compilers order bits differently",
        );
      }
      const length = this.#length(struct, token);
      if (this.#take("=")) {
        while (![",", ";", "}"].includes(this.#peek().text)) this.#at++;
      } else if (this.#peek().text === "{") this.#balanced("{", "}");
      const end = this.#next();
      const doc = first.doc || token.doc || end.trailing || "";
      fields.push({ name: token.text, type, ...(length === undefined ? {} : { length }), doc });
      if (end.text === ";") return;
      if (end.text !== ",") {
        throw sourceError(end, `“${end.text}” stands where “;” should, after ${token.text}`);
      }
    }
  }

  #length(struct: string, name: Token): number | undefined {
    if (this.#peek().text !== "[") return undefined;
    const open = this.#peek();
    const inside = this.#balanced("[", "]");
    if (inside.length === 0) {
      throw sourceError(open, `${struct}.${name.text} has no length`, "write the most it can hold");
    }
    const length = evaluate(inside, this.#names);
    if (this.#peek().text === "[") {
      throw sourceError(
        this.#peek(),
        `${struct}.${name.text} has two dimensions`,
        "write one array of rows × columns",
      );
    }
    if (length < 1n || length > 65_536n) {
      throw sourceError(open, `${struct}.${name.text} has the length ${length}`, "write 1 or more");
    }
    return Number(length);
  }

  /** A type by name; `std::` and namespaces are left out. */
  #type(of: string, place: Place = this.#peek()): FieldType {
    while (["const", "volatile", "mutable"].includes(this.#peek().text)) this.#at++;
    const words: string[] = [];
    while (TYPE_WORDS.has(this.#peek().text)) words.push(this.#next().text);
    let name = words.join(" ");
    if (!name) {
      if (this.#peek().text === "::") this.#at++;
      const token = this.#next();
      if (token.kind !== "name") throw sourceError(token, `“${token.text}” is no type, in ${of}`);
      name = token.text;
      while (this.#take("::")) name = this.#next().text;
    }
    const type = this.#lookUp(name);
    if (type) return type;
    const instead = insteadOf(name);
    if (instead) throw sourceError(place, `${name} cannot be in a frame (${of})`, instead);
    const lost = this.contents.missing;
    throw sourceError(
      place,
      `the type ${name} is not known (${of})`,
      lost.length > 0
        ? `these included files were not found: ${lost.join(", ")}`
        : "define it before it is used, or include the file that does",
    );
  }

  #lookUp(name: string): FieldType | undefined {
    const scalar = scalarOf(name);
    if (scalar) return { kind: "scalar", scalar };
    const alias = this.aliases.get(name);
    if (alias) return alias;
    if (this.contents.structs.has(name)) return { kind: "struct", name };
    if (this.contents.enums.has(name)) return { kind: "enum", name };
    // Common in these headers: the type of the numbers is defined in a file for the compiler only.
    if (name === "frame_id") return { kind: "scalar", scalar: "uint8" };
    return undefined;
  }

  #bytes(type: FieldType): number {
    if (type.kind === "scalar") return SCALAR_BYTES[type.scalar];
    if (type.kind === "enum") return SCALAR_BYTES[this.contents.enums.get(type.name)!.scalar];
    const definitions = { enums: this.contents.enums, structs: this.contents.structs, frames: [] };
    return structBytes(definitions, this.contents.structs.get(type.name)!);
  }

  #tie(): void {
    const place = this.#next();
    const inside = this.#balanced("(", ")");
    this.#take(";");
    const [struct, comma, frame] = inside;
    if (struct?.kind !== "name" || comma?.text !== "," || frame?.kind !== "name") {
      throw sourceError(place, `${TIE} wants a struct and a frame type`, `${TIE}(frame_x_s, X)`);
    }
    this.contents.ties.push({ struct: struct.text, frame: frame.text, place });
  }

  /** A macro for the compiler, such as one that packs the struct that follows. */
  #macro(): void {
    const token = this.#next();
    if (this.#peek().text === "(") this.#balanced("(", ")");
    this.#take(";");
    // The comment above it belongs to what follows.
    const following = this.#peek();
    if (token.doc && !following.doc) {
      this.#tokens[this.#at] = { ...following, doc: token.doc };
    }
  }

  #define(name: Token): void {
    const before = this.contents.places.get(name.text);
    if (before) {
      throw sourceError(
        name,
        `${name.text} is defined a second time; first in ${before.file}:${before.line}`,
        "give it another name",
      );
    }
    this.contents.places.set(name.text, name);
  }
}
