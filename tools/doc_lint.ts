/**
 * Fails on public names without documentation: `deno doc --lint` on every package's entry points.
 *
 * @module
 */
import { join } from "node:path";
import { deno } from "./deno.ts";
import { packages, PROJECT_ROOT } from "./workspace.ts";

/**
 * Lints the documentation of all packages at once: a type that one package takes from another's
 * public face is public, which a package linted alone could not know.
 *
 * @param root The workspace's folder.
 * @returns The linter's complaints, empty when it has none, and how many entry points it read.
 */
export async function lintDocs(root: string): Promise<{ entries: number; problems: string }> {
  const entries = (await packages(root)).flatMap((each) =>
    Object.values(each.exports)
      .filter((file) => /\.[mc]?[jt]sx?$/.test(file))
      .map((file) => join(root, each.dir, file))
  );
  const out = await deno(["doc", "--lint", ...entries], { cwd: root });
  const problems = out.code === 0 ? "" : (out.stderr.trim() || `exit code ${out.code}`);
  return { entries: entries.length, problems };
}

if (import.meta.main) {
  const { entries, problems } = await lintDocs(PROJECT_ROOT);
  if (problems === "") {
    console.log(`${entries} entry points are documented`);
  } else {
    console.error(problems);
    Deno.exit(1);
  }
}
