/**
 * What users get: the files that `deno publish` would send, and a project made of nothing else.
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { deno } from "./deno.ts";
import { type Package, packages } from "./workspace.ts";

/** What a rehearsed publication of one package says. */
export interface Rehearsal {
  /** The package. */
  package: Package;
  /** The files it would send, relative to the package's folder. */
  files: string[];
  /** Errors and warnings, slow types among them; empty when it is clean. */
  problems: string;
}

/** Lines of `deno publish --dry-run` that are no complaint. */
const PROGRESS =
  /^(?:Check |Checking for slow types|Simulating publish of |Success |Download |Initialize |\s+file:|$)/;

/**
 * The imports whose target is known only at run time, by what they do. They take full URLs or
 * specifiers, so the warning's one demand (resolvable without an import map) is met.
 */
const RUN_TIME_IMPORTS: readonly RegExp[] = [
  /host\/loader\.ts:/, // the plugin loader: what the user dropped in
  /cli\/commands\/broker\.ts:/, // the plugin of MQTT: by the user's imports, or from ./plugins
  /bus\/frames\/load\.ts:/, // definitions that the user has generated
  /core\/conformance\/process_main\.ts:/, // the child process of a conformance case: the fixture
];

/** Takes out the warnings about {@link RUN_TIME_IMPORTS}, each from its first to its last line. */
function withoutRunTimeImports(output: string): string {
  return output.replace(
    /^warning\[unanalyzable-dynamic-import\].*\n(?:(?:\s+(?:-->|\||info:).*|\s*\d+ \|.*|[ \t]*)\n)*/gm,
    (warning) => RUN_TIME_IMPORTS.some((known) => known.test(warning)) ? "" : warning,
  );
}

/**
 * Reads what `deno publish --dry-run` printed.
 *
 * @param output Both of its streams, without colours.
 * @param folder The package's folder, which the file names are told relative to.
 */
export function readRehearsal(
  output: string,
  folder: string,
): { files: string[]; problems: string } {
  const lines = withoutRunTimeImports(output).split(/\r?\n/);
  const listed = lines.flatMap((line) => /^\s+(file:\S+) \([\d.]+\s*\w+\)$/.exec(line)?.[1] ?? []);
  const paths = listed.map((url) => relative(folder, fileURLToPath(url)).replaceAll("\\", "/"));
  const problems = lines.filter((line) => !PROGRESS.test(line)).join("\n").trim();
  return { files: paths.sort(), problems };
}

/**
 * Rehearses the publication of one package: type check, slow types, the list of files.
 *
 * @param root The workspace's folder.
 * @param each The package.
 */
export async function rehearse(root: string, each: Package): Promise<Rehearsal> {
  const folder = join(root, each.dir);
  // A root that is itself a package publishes only itself, so every package is asked in its folder.
  const out = await deno(["publish", "--dry-run", "--allow-dirty"], { cwd: folder });
  const { files, problems } = readRehearsal(`${out.stdout}\n${out.stderr}`, folder);
  if (out.code !== 0 && problems === "") {
    return { package: each, files, problems: `exit code ${out.code}` };
  }
  return { package: each, files, problems };
}

/**
 * Makes a project that holds exactly the published files of all packages, and an import map that
 * finds them by their names as a registry would.
 *
 * @param root The workspace's folder.
 * @param rehearsals What each package publishes.
 * @param target An empty folder outside the workspace.
 */
export async function copyPublished(
  root: string,
  rehearsals: Rehearsal[],
  target: string,
): Promise<void> {
  // Publishing rewrites bare specifiers by the import map; the copies keep them, so the map comes along.
  const [top] = await packages(root);
  const imports: Record<string, string> = { ...top?.imports };
  for (const { package: each, files } of rehearsals) {
    const folder = `packages/${each.name.replace(/^@[^/]+\//, "")}`;
    for (const file of files) {
      await Deno.mkdir(join(target, folder, dirname(file)), { recursive: true });
      await Deno.copyFile(join(root, each.dir, file), join(target, folder, file));
    }
    // A copied deno.json would be a second configuration: only its own import map is needed.
    await Deno.remove(join(target, folder, "deno.json")).catch(() => {});
    Object.assign(imports, each.dir === "." ? {} : each.imports);
    for (const [entry, file] of Object.entries(each.exports)) {
      const name = join(each.name, entry).replaceAll("\\", "/").replace(/\/$/, "");
      imports[name] = imports[`jsr:${name}`] = `./${join(folder, file).replaceAll("\\", "/")}`;
    }
  }
  const config = { nodeModulesDir: "none", lock: false, imports };
  await Deno.writeTextFile(join(target, "deno.json"), JSON.stringify(config, null, 2));
}
