/**
 * Bundles a program for a page as the common bundlers do: what is imported dynamically goes into
 * files of its own, which a page loads when it needs them.
 *
 * @module
 */

import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { packages, PROJECT_ROOT } from "./workspace.ts";

/** One file of a bundle. */
export interface PageFile {
  /** Its name. */
  readonly name: string;
  /** How many bytes it has, compressed as servers do. */
  readonly gzipBytes: number;
  /** What it imports statically. */
  readonly imports: readonly string[];
}

/** A bundle. */
export interface PageBundle {
  /** Its files; the first is the program. */
  readonly files: readonly PageFile[];
  /**
   * The files that are loaded with some of them.
   *
   * @param names The files, by the beginning of their names.
   */
  loaded(names: readonly string[]): PageFile[];
}

/** The packages of the workspace by what programs call them. */
async function workspacePaths(root: string): Promise<Map<string, string>> {
  const paths = new Map<string, string>();
  for (const { name, dir, exports } of await packages(root)) {
    for (const [key, path] of Object.entries(exports)) {
      if (name !== undefined) paths.set(name + key.slice(1), join(root, dir, path));
    }
  }
  return paths;
}

/**
 * Bundles a program.
 *
 * @param program Its source.
 * @param root The workspace.
 */
export async function bundlePage(program: string, root = PROJECT_ROOT): Promise<PageBundle> {
  const paths = await workspacePaths(root);
  const entry = "\0page.ts";
  const bundle = await rolldown({
    input: entry,
    // A package of npm that is loaded on demand; nothing that a page loads at first may be one.
    external: [/^fflate$/],
    // No module of ours does anything when it is imported.
    treeshake: { moduleSideEffects: false },
    plugins: [{
      name: "workspace",
      resolveId: (id) => id === entry ? entry : paths.get(id),
      load: (id) => id === entry ? { code: program, moduleType: "ts" } : undefined,
    }],
  });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  const files = output.flatMap((file): PageFile[] =>
    file.type === "asset" ? [] : [{
      name: file.fileName,
      gzipBytes: gzipSync(file.code, { level: 9 }).length,
      imports: file.imports,
    }]
  );
  return {
    files,
    loaded(names) {
      const found = new Set<PageFile>();
      const add = (file: PageFile | undefined) => {
        if (file === undefined || found.has(file)) return;
        found.add(file);
        for (const name of file.imports) add(files.find((each) => each.name === name));
      };
      for (const name of names) add(files.find((each) => each.name.startsWith(name)));
      return [...found];
    },
  };
}
