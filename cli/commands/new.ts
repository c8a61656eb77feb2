/**
 * `patchbay new`: the skeleton of a module, or of a plugin that passes the conformance suite.
 *
 * @module
 */

import { dirname, join, relative } from "node:path";
import { PatchbayError } from "@patchbay/core";
import { projectFolder } from "@patchbay/host";
import type { Context } from "../context.ts";
import { EXIT, UsageError } from "../complaint.ts";
import { TEMPLATES } from "../templates.ts";
import { VERSION } from "../version.ts";

/** What is known about the project that the skeleton goes into. */
interface Project {
  readonly folder: string;
  /** Whether it says by itself where `@patchbay/…` is. */
  readonly mapsPatchbay: boolean;
  /** The scope of its packages: `@acme`. */
  readonly scope: string;
}

/**
 * Makes `modules/NAME`.
 *
 * @param context The surroundings.
 * @param name The module's name.
 */
export async function createModule(context: Context, name: string): Promise<number> {
  if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name)) {
    throw new UsageError(`a module cannot be called ${JSON.stringify(name)}`, {
      remedy: "a-z, 0-9, _ and -, at most 64 characters, a letter or digit first",
    });
  }
  return await create(context, "module", name, [
    `patchbay run modules/${name}`,
    `patchbay call ${name}/greet '{"name": "Ada"}'`,
    `deno test -A modules/${name}`,
  ]);
}

/**
 * Makes `plugins/NAME`.
 *
 * @param context The surroundings.
 * @param name The plugin's name.
 */
export async function createPlugin(context: Context, name: string): Promise<number> {
  if (!/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name)) {
    throw new UsageError(`a plugin cannot be called ${JSON.stringify(name)}`, {
      remedy: "snake_case: a-z, 0-9 and _, a letter first",
    });
  }
  return await create(context, "plugin", name, [
    `deno test -A plugins/${name}`,
    `patchbay doctor ${name}`,
  ]);
}

async function create(
  { screen }: Context,
  kind: "module" | "plugin",
  name: string,
  next: readonly string[],
): Promise<number> {
  const project = projectOf(projectFolder());
  const folder = join(project.folder, `${kind}s`, name);
  const files = Object.entries(TEMPLATES)
    .filter(([path]) => path.startsWith(`${kind}/`))
    .map(([path, text]) => ({
      path: join(folder, path.slice(kind.length + 1)),
      text: fill(text, name, project),
    }));
  const there = files.find(({ path }) => exists(path));
  if (there !== undefined) {
    throw new PatchbayError("invalid", `${relative(Deno.cwd(), there.path)} is already there`, {
      details: { path: there.path },
      remedy: "another name, or move it away: nothing is overwritten",
    });
  }
  Deno.mkdirSync(folder, { recursive: true });
  for (const { path, text } of files) {
    Deno.mkdirSync(dirname(path), { recursive: true });
    Deno.writeTextFileSync(path, text, { createNew: true });
  }
  await format(project.folder, files.map(({ path }) => path));
  for (const { path } of files) {
    if (screen.json) screen.value({ event: "created", path });
    else screen.line(`${screen.paint.green("+")} ${relative(Deno.cwd(), path)}`);
  }
  for (const line of next) screen.note(`  ${line}`);
  return EXIT.ok;
}

/** As wide as the project likes its lines. That it is formatted is no matter of life and death. */
async function format(cwd: string, paths: readonly string[]): Promise<void> {
  const args = ["fmt", "--quiet", ...paths];
  await new Deno.Command(Deno.execPath(), { args, cwd, stdout: "null", stderr: "null" }).output();
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function projectOf(folder: string): Project {
  let config: { name?: unknown; imports?: Record<string, unknown>; workspace?: unknown } = {};
  try {
    config = JSON.parse(Deno.readTextFileSync(join(folder, "deno.json")));
  } catch {
    // None, or with comments: then the skeleton says by itself where Patchbay is.
  }
  const own = typeof config.name === "string" ? /^(@[^/]+)\//.exec(config.name)?.[1] : undefined;
  return {
    folder,
    // Patchbay's own workspace finds its members by their names.
    mapsPatchbay: own === "@patchbay" || config.imports?.["@patchbay/core"] !== undefined,
    scope: own ?? "@local",
  };
}

function fill(text: string, name: string, { mapsPatchbay, scope }: Project): string {
  const pascal = name.split("_").map((word) => word[0].toUpperCase() + word.slice(1)).join("");
  const filled = text
    .replaceAll("my_module", name)
    .replaceAll("my_wire", name)
    .replaceAll("MyWire", pascal)
    .replaceAll("myWire", pascal[0].toLowerCase() + pascal.slice(1))
    .replaceAll("@scope/", `${scope}/`);
  if (mapsPatchbay) return filled;
  // A plugin outside a workspace gets its host's import map: its imports are written in full.
  return filled.replace(/(from ")(@patchbay\/[a-z_]+)/g, `$1jsr:$2@^${VERSION}`);
}
