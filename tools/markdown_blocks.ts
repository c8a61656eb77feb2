/**
 * Code blocks of Markdown and docstrings.
 *
 * @module
 */

const TYPESCRIPT = /^(?:ts|typescript|tsx|js|javascript|jsx)$/;

/**
 * Whether a text holds a block that `deno test --doc` runs: one in TypeScript or JavaScript, in a
 * docstring or in Markdown, that is not marked `ignore`.
 */
export function hasRunnableBlock(text: string): boolean {
  let open = false;
  for (const line of text.split("\n")) {
    const fence = /^\s*(?:\/?\*+\s*)?```+\s*([^\s`]*)\s*([^`]*)$/.exec(line);
    if (fence === null) continue;
    const [, language = "", attributes = ""] = fence;
    if (!open && TYPESCRIPT.test(language) && !/\bignore\b/.test(attributes)) return true;
    open = !open;
  }
  return false;
}

/**
 * The quick start of a README: the first block fenced as `ts quickstart`, or the first `ts` block
 * after the line `<!-- quickstart -->`. Undefined when there is neither.
 */
export function quickStart(markdown: string): string | undefined {
  const fenced = /^```ts quickstart[^\n]*\n([\s\S]*?)^```/m.exec(markdown);
  if (fenced !== null) return fenced[1];
  const marker = /^<!-- quickstart -->[ \t]*$/m.exec(markdown);
  if (marker === null) return undefined;
  return /^```ts\b[^\n]*\n([\s\S]*?)^```/m.exec(markdown.slice(marker.index))?.[1];
}
