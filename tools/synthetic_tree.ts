/**
 * Small source trees in a temporary folder, to prove that the checkers catch what they are for.
 *
 * @module
 */
import { dirname, join } from "node:path";

/**
 * Writes a tree and removes it on disposal.
 *
 * @param tree Path to text.
 */
export async function syntheticTree(
  tree: Record<string, string>,
): Promise<AsyncDisposable & { root: string }> {
  const root = await Deno.realPath(await Deno.makeTempDir({ prefix: "patchbay-tree-" }));
  for (const [path, text] of Object.entries(tree)) {
    await Deno.mkdir(join(root, dirname(path)), { recursive: true });
    await Deno.writeTextFile(join(root, path), text);
  }
  return {
    root,
    async [Symbol.asyncDispose]() {
      await Deno.remove(root, { recursive: true });
    },
  };
}
