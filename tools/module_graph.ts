/**
 * The module graph of some entry files, as `deno info --json` reports it.
 *
 * @module
 */
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { deno } from "./deno.ts";

/** One import statement or `import()` call. */
export interface Edge {
  /** The URL of the importing module. */
  from: string;
  /** The URL of the imported module, after the import map and redirects. */
  to: string;
  /** What the source says. */
  specifier: string;
  /** Whether every import of it in that module is an `import()` call. */
  dynamic: boolean;
  /** Whether only types are taken, so that nothing is loaded when the program runs. */
  typeOnly: boolean;
}

/** Modules and the imports between them. */
export interface Graph {
  /** The folder that paths are told relative to. */
  root: string;
  /** URLs of all modules that were reached. */
  modules: Set<string>;
  /** All imports. */
  edges: Edge[];
  /** Modules that could not be read or parsed, and why. */
  errors: { module: string; message: string }[];
}

interface InfoTarget {
  specifier?: string;
  error?: string;
}

interface Info {
  modules: {
    specifier: string;
    error?: string;
    dependencies?: {
      specifier: string;
      code?: InfoTarget;
      type?: InfoTarget;
      isDynamic?: boolean;
      npmPackage?: string;
    }[];
  }[];
  redirects?: Record<string, string>;
}

/**
 * Reads the graph of the given files.
 *
 * @param root The folder whose `deno.json` says how specifiers resolve.
 * @param entries Files relative to `root`.
 */
export async function moduleGraph(root: string, entries: string[]): Promise<Graph> {
  // deno info takes one entry: a list of all of them, outside the tree, is the cheapest way to ask once.
  const folder = await Deno.makeTempDir({ prefix: "patchbay-graph-" });
  try {
    const all = join(folder, "entries.ts");
    const urls = entries.map((entry) => pathToFileURL(join(root, entry)).href);
    await Deno.writeTextFile(all, urls.map((url) => `import ${JSON.stringify(url)};\n`).join(""));
    const config = join(root, "deno.json");
    const out = await deno(["info", "--json", "--no-lock", "--config", config, all]);
    if (out.code !== 0) throw new Error(`deno info failed:\n${out.stderr}`);
    return readInfo(JSON.parse(out.stdout) as Info, root, pathToFileURL(all).href);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function readInfo(info: Info, root: string, synthetic: string): Graph {
  const redirects = info.redirects ?? {};
  const resolved = (url: string): string => redirects[url] ?? url;
  const graph: Graph = { root, modules: new Set(), edges: [], errors: [] };
  for (const module of info.modules) {
    const from = module.specifier;
    if (from === synthetic) continue;
    graph.modules.add(from);
    if (module.error !== undefined) graph.errors.push({ module: from, message: module.error });
    for (const dependency of module.dependencies ?? []) {
      const target = dependency.code ?? dependency.type;
      if (target?.specifier === undefined) {
        const message = target?.error ?? `${dependency.specifier} does not resolve`;
        graph.errors.push({ module: from, message });
        continue;
      }
      graph.edges.push({
        from,
        to: resolved(target.specifier),
        specifier: dependency.specifier,
        dynamic: dependency.isDynamic === true,
        typeOnly: dependency.code === undefined,
      });
    }
  }
  return graph;
}

/**
 * The path of a module relative to the graph's root, with `/`; undefined for a module that is not
 * a file below it.
 */
export function localPath(graph: Graph, url: string): string | undefined {
  if (!url.startsWith("file:")) return undefined;
  const path = relative(graph.root, fileURLToPath(url)).replaceAll("\\", "/");
  return path.startsWith("..") ? undefined : path;
}

/**
 * The name of the npm package a module URL belongs to; undefined for anything else.
 *
 * @param url Such as `npm:/fflate@0.8.2` or `npm:@grpc/grpc-js@1.14.0/build/x.js`.
 */
export function npmPackage(url: string): string | undefined {
  return /^npm:\/?((?:@[^/@]+\/)?[^/@]+)/.exec(url)?.[1];
}

/** The URL of a file of the graph, for {@link reached}. */
export function fileUrl(graph: Graph, path: string): string {
  return pathToFileURL(join(graph.root, path)).href;
}

/**
 * Every module that runs when `entry` runs: imports and `import()` calls followed, types not.
 *
 * @param entry A path relative to the root.
 */
export function reached(graph: Graph, entry: string): Set<string> {
  const seen = new Set([fileUrl(graph, entry)]);
  // A Set's iteration visits what is added to it on the way.
  for (const module of seen) {
    for (const edge of graph.edges) if (edge.from === module && !edge.typeOnly) seen.add(edge.to);
  }
  return seen;
}
