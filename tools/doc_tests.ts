/**
 * Runs the examples of docstrings and Markdown: `deno test --doc` over every file that has one.
 *
 * @module
 */
import { join } from "node:path";
import { hasRunnableBlock } from "./markdown_blocks.ts";
import { files, packages, PROJECT_ROOT } from "./workspace.ts";

/**
 * The files whose examples run, relative to the root: sources of packages (their tests aside),
 * Markdown of packages, of the root and of `docs/`. Only those that have a runnable block, because
 * each is imported as well.
 *
 * @param root The workspace's folder.
 */
export async function documentedFiles(root: string = PROJECT_ROOT): Promise<string[]> {
  const folders = (await packages(root)).map((each) => each.dir).filter((dir) => dir !== ".");
  const found: string[] = [];
  for (const path of await files(root, [".ts", ".tsx", ".md"])) {
    const inPackage = !path.includes("/") || folders.some((dir) => path.startsWith(`${dir}/`));
    const inDocs = path.startsWith("docs/") && path.endsWith(".md");
    if (!inPackage && !inDocs) continue;
    if (/(_test|_bench)\.tsx?$/.test(path)) continue;
    if (hasRunnableBlock(await Deno.readTextFile(join(root, path)))) found.push(path);
  }
  return found;
}

/** The arguments of `deno` that run these files' examples. */
export function docTestArgs(paths: string[]): string[] {
  return ["test", "-A", "--doc", ...paths];
}

if (import.meta.main) {
  const paths = await documentedFiles();
  const command = new Deno.Command(Deno.execPath(), {
    args: docTestArgs(paths),
    cwd: PROJECT_ROOT,
  });
  Deno.exit(paths.length === 0 ? 0 : (await command.spawn().status).code);
}
