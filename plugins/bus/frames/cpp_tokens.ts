/**
 * Cuts a C++ header into tokens, each with its place and the comment that stands before it.
 *
 * Follows ISO C++17 [lex]: comments, line splices, identifiers, numbers with digit separators,
 * character and string literals, punctuation. Preprocessor lines become one token each.
 *
 * @module
 */

import { type Place, sourceError } from "./source_error.ts";

/** One token. */
export interface Token extends Place {
  /** What it is; `directive` is a whole preprocessor line. */
  readonly kind: "name" | "number" | "character" | "string" | "punctuation" | "directive" | "end";
  /** As it stands in the source; of a directive without `#`. */
  readonly text: string;
  /** The comments right before it, without their marks. */
  readonly doc: string;
  /** The comment after it on the same line. */
  trailing?: string;
}

// Longest first; only what a header of definitions can hold.
const PUNCTUATION = ["::", "<<", ">>", "[[", "]]", "...", "->"];

/**
 * All tokens of a file; the last has kind `end`.
 *
 * @param source The text.
 * @param file How errors name it.
 */
export function tokenize(source: string, file: string): Token[] {
  const tokens: Token[] = [];
  const text = source.replace(/\r\n?/g, "\n");
  let at = 0;
  let line = 1;
  let lineStart = 0;
  let doc: string[] = [];
  let docEnd = 0; // The line on which the last comment ended.

  const place = (): Place => ({ file, line, column: at - lineStart + 1 });
  const skip = (to: number) => {
    for (; at < to; at++) {
      if (text[at] === "\n") {
        line++;
        lineStart = at + 1;
      }
    }
  };
  const push = (kind: Token["kind"], to: number) => {
    const here = place();
    const raw = text.slice(at, to);
    // A comment that a blank line sets apart belongs to nothing.
    const near = doc.length > 0 && here.line - docEnd <= 1;
    tokens.push({ kind, text: raw, doc: near ? doc.join("\n") : "", ...here });
    doc = [];
    skip(to);
  };
  const comment = (content: string, startLine: number) => {
    const last = tokens.at(-1);
    if (last?.line === startLine && last.kind !== "directive") {
      last.trailing = content;
      return;
    }
    if (startLine - docEnd > 1) doc = [];
    doc.push(content);
    docEnd = line;
  };

  while (at < text.length) {
    const rest = text.slice(at, at + 3);
    if (/^\s/.test(rest)) {
      skip(at + 1);
    } else if (rest.startsWith("//")) {
      const start = line;
      const end = text.indexOf("\n", at);
      const to = end < 0 ? text.length : end;
      const content = text.slice(at, to).replace(/^\/\/[\/!]?<?\s?/, "").trimEnd();
      skip(to);
      comment(content, start);
    } else if (rest.startsWith("/*")) {
      const start = place();
      const end = text.indexOf("*/", at + 2);
      if (end < 0) throw sourceError(start, "this comment has no end", "close it with */");
      const content = text.slice(at + 2, end).split("\n")
        .map((each) => each.replace(/^\s*\*? ?/, "").trimEnd()).join("\n").trim();
      skip(end + 2);
      comment(content.replace(/^[*!]<?\s*/, ""), start.line);
    } else if (rest[0] === "#" && /^\s*$/.test(text.slice(lineStart, at))) {
      let end = at;
      do end = text.indexOf("\n", end + 1); while (end > 0 && text[end - 1] === "\\");
      push("directive", end < 0 ? text.length : end);
    } else if (/[A-Za-z_]/.test(rest[0])) {
      push("name", at + /^\w+/.exec(text.slice(at))![0].length);
    } else if (/[0-9]/.test(rest[0])) {
      push("number", at + /^[0-9](?:[\w.']*)/.exec(text.slice(at))![0].length);
    } else if (rest[0] === '"' || rest[0] === "'") {
      const literal = /^(["'])(?:\\.|(?!\1)[^\\\n])*\1/.exec(text.slice(at));
      if (!literal) throw sourceError(place(), `this ${rest[0]} has no partner on its line`);
      push(rest[0] === '"' ? "string" : "character", at + literal[0].length);
    } else {
      const long = PUNCTUATION.find((each) => text.startsWith(each, at));
      push("punctuation", at + (long?.length ?? 1));
    }
  }
  push("end", at);
  return tokens;
}
