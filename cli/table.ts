/**
 * Tables without borders: columns as wide as they must be, the last one wrapped.
 *
 * @module
 */

import { stripVTControlCharacters } from "node:util";

/** How wide a text is on a terminal; colours take no room. */
export function width(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

/**
 * Breaks a text between words, so that no line is wider than it may be where that is possible.
 *
 * @param text The text.
 * @param columns How wide a line may be.
 */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && width(line) + 1 + width(word) > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** How a table is laid out. */
export interface TableOptions {
  /** How wide it may be, in characters. */
  columns: number;
  /** Columns, from 0, that are right-aligned: numbers. */
  right?: readonly number[];
  /** What each line begins with. */
  indent?: string;
}

/**
 * Lays out rows.
 *
 * @param rows The cells; colours in them are allowed. The last column is wrapped.
 * @param options The width and the alignment.
 * @returns The lines.
 */
export function table(rows: readonly (readonly string[])[], options: TableOptions): string[] {
  const { right = [], indent = "" } = options;
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from(
    { length: count },
    (_, i) => Math.max(0, ...rows.map((row) => width(row[i] ?? ""))),
  );
  const before = indent.length + widths.slice(0, -1).reduce((sum, each) => sum + each + 2, 0);
  const room = Math.max(24, options.columns - before);
  return rows.flatMap((row) => {
    const cells = widths.slice(0, -1).map((wide, i) => {
      const fill = " ".repeat(wide - width(row[i] ?? ""));
      return right.includes(i) ? `${fill}${row[i] ?? ""}  ` : `${row[i] ?? ""}${fill}  `;
    });
    const last = row[count - 1] ?? "";
    const lines = right.includes(count - 1)
      ? [last.padStart(last.length + widths[count - 1] - width(last))]
      : wrap(last, room);
    return lines.map((line, i) =>
      `${i === 0 ? indent + cells.join("") : " ".repeat(before)}${line}`.trimEnd()
    );
  });
}
