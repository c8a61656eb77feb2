/**
 * The rule of layers (DESIGN §1): who may import whom, judged from the module graph.
 *
 * @module
 */
import { type Edge, type Graph, localPath, npmPackage, reached } from "./module_graph.ts";

/** Packages of npm that core may use: those that its `deno.json` and the `@std` entries name. */
export interface LayerRules {
  /** Names of npm packages that core may import. */
  coreNpm: ReadonlySet<string>;
}

type Layer = "root" | "cli" | "host" | "core" | "conformance" | "ffi" | "plugin" | "outside";

interface Place {
  layer: Layer;
  /** The plugin's folder name. */
  plugin?: string;
  /** The package's folder. */
  package: string;
  /** `fixture` and `test` are judged by looser rules than what users run. */
  role: "product" | "fixture" | "test";
}

/** Where a file stands. */
function placeOf(path: string): Place {
  const [top, second] = path.split("/");
  const role = /_(test|bench)\.tsx?$/.test(path) || path.includes("/testdata/")
    ? "test"
    : /(^|\/)fixture\.ts$|^plugins\/\w+\/\w+_fixture\.ts$/.test(path)
    ? "fixture"
    : "product";
  if (second === undefined) return { layer: "root", package: ".", role };
  if (top === "core" && second === "conformance") {
    return { layer: "conformance", package: "core", role };
  }
  if (top === "core" || top === "host" || top === "cli" || top === "ffi") {
    return { layer: top, package: top, role };
  }
  if (top === "plugins") {
    return { layer: "plugin", plugin: second, package: `plugins/${second}`, role };
  }
  // tests/, bench/, tools/, examples/, modules/, docs/: users of the layers, not layers.
  return { layer: "outside", package: top!, role };
}

const MAY_IMPORT: Readonly<Record<Exclude<Layer, "outside">, readonly Layer[]>> = {
  root: ["root", "host", "core", "plugin"],
  cli: ["cli", "root", "host", "core"],
  host: ["host", "core"],
  core: ["core"],
  conformance: ["conformance", "core"],
  ffi: ["ffi"],
  plugin: ["plugin", "core", "host", "ffi"],
};

function describe(path: string, place: Place): string {
  if (place.plugin !== undefined) return `${path} (plugin ${place.plugin})`;
  return `${path} (${place.layer})`;
}

/** Why one import of a local file is wrong; undefined when it is right. */
function judgeLocal(edge: Edge, fromPath: string, toPath: string): string | undefined {
  const from = placeOf(fromPath);
  const to = placeOf(toPath);
  if (from.layer === "outside") return undefined;
  const told = `${describe(fromPath, from)} imports ${describe(toPath, to)}`;
  if (from.plugin !== undefined && to.plugin !== undefined && from.plugin !== to.plugin) {
    return `${told}: a plugin imports no other plugin`;
  }
  if (from.role === "test") return undefined;
  if (to.role === "test") return `${told}: only tests import tests`;
  if (to.layer === "outside") return `${told}: a package imports nothing from ${to.package}/`;
  if (from.role === "product" && to.role === "fixture") return `${told}: only tests use fixtures`;
  const fixtureUsesConformance = from.role === "fixture" && to.layer === "conformance";
  const ffiUsesErrors = from.layer === "ffi" && toPath === "core/errors.ts";
  if (!MAY_IMPORT[from.layer].includes(to.layer) && !fixtureUsesConformance && !ffiUsesErrors) {
    const allowed: string[] = MAY_IMPORT[from.layer].map((layer) =>
      layer === "plugin" ? (from.layer === "plugin" ? "its own folder" : "plugins") : layer
    );
    if (from.layer === "ffi") allowed.push("core/errors.ts");
    return `${told}: ${from.layer} may import ${allowed.join(", ")} only`;
  }
  if (from.package !== to.package && edge.specifier.startsWith(".")) {
    return `${told} by the path ${edge.specifier}: another package is imported by its name, ` +
      "or it is missing once published";
  }
  return undefined;
}

/** Why one import of something that is not a local file is wrong; undefined when it is right. */
function judgeForeign(edge: Edge, fromPath: string, rules: LayerRules): string | undefined {
  const from = placeOf(fromPath);
  if (from.layer !== "core" || from.role !== "product") return undefined;
  const npm = npmPackage(edge.to);
  if (npm !== undefined && rules.coreNpm.has(npm)) return undefined;
  return npm === undefined
    ? `${fromPath} (core) imports ${edge.to}: core uses what every browser has, and npm packages`
    : `${fromPath} (core) imports npm package ${npm}: core/deno.json does not name it`;
}

/** Plugins in the root's literal import table that would make everybody download their packages. */
function judgeTable(graph: Graph, rules: LayerRules): string[] {
  const wrong: string[] = [];
  const plugins = new Map<string, string>();
  for (const module of graph.modules) {
    const path = localPath(graph, module);
    if (path === undefined || placeOf(path).layer !== "root") continue;
    for (const edge of graph.edges) {
      const target = localPath(graph, edge.to);
      if (edge.from !== module || edge.typeOnly || target === undefined) continue;
      if (placeOf(target).layer === "plugin") plugins.set(target, path);
    }
  }
  for (const [plugin, table] of plugins) {
    for (const module of reached(graph, plugin)) {
      const npm = npmPackage(module);
      if (npm === undefined || rules.coreNpm.has(npm)) continue;
      wrong.push(
        `${table} (root) imports ${plugin}, which needs npm package ${npm}: the root's table ` +
          "holds only plugins without npm dependencies of their own",
      );
    }
  }
  return wrong;
}

/**
 * Every breach of the layers in a graph, one sentence each; an empty list when there is none.
 *
 * A module that could not be read counts as a breach: what cannot be seen cannot be judged.
 *
 * @param graph The graph of every source file of the workspace.
 * @param rules What depends on the project.
 */
export function layerBreaches(graph: Graph, rules: LayerRules): string[] {
  const wrong = graph.errors.map(({ module, message }) =>
    `${localPath(graph, module) ?? module} cannot be judged: ${message}`
  );
  for (const edge of graph.edges) {
    const from = localPath(graph, edge.from);
    if (from === undefined) continue;
    const to = localPath(graph, edge.to);
    const breach = to === undefined ? judgeForeign(edge, from, rules) : judgeLocal(edge, from, to);
    if (breach !== undefined) wrong.push(breach);
  }
  return [...wrong, ...judgeTable(graph, rules)];
}
