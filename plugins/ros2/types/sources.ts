/**
 * Where the texts of interfaces come from: the common ones, a folder, an installed ROS, or the
 * program itself.
 *
 * @module
 */

import { COMMON_INTERFACES } from "./common_interfaces.ts";

/** Gives the text of an interface by its full name, such as `std_msgs/msg/String`. */
export type InterfaceSource = (name: string) => string | undefined;

/** Texts that are passed, by their full names. */
export function inlineSource(texts: Readonly<Record<string, string>>): InterfaceSource {
  return (name) => Object.hasOwn(texts, name) ? texts[name] : undefined;
}

let common: Map<string, string> | undefined;

/** The common interfaces, by their full names. */
export function commonInterfaces(): ReadonlyMap<string, string> {
  if (common !== undefined) return common;
  common = new Map();
  for (const block of COMMON_INTERFACES.split(/^# /m).slice(1)) {
    const end = block.indexOf("\n");
    common.set(block.slice(0, end), block.slice(end + 1));
  }
  return common;
}

/** The common interfaces as a source. */
export const commonSource: InterfaceSource = (name: string): string | undefined =>
  commonInterfaces().get(name);

function read(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}

/**
 * A folder: `<folder>/<package>/msg/<Name>.msg`, as a workspace's `src` and a ROS installation's
 * `share` have it, or `<folder>/msg/<Name>.msg` of a package that is the folder itself.
 *
 * @param folder Its path. Needs `--allow-read` for it.
 */
export function folderSource(folder: string): InterfaceSource {
  const own = folder.replace(/[\\/]+$/, "").split(/[\\/]/).at(-1);
  return (name) => {
    const [packageName, kind, type] = name.split("/");
    const file = `${kind}/${type}.${kind}`;
    return read(`${folder}/${packageName}/${file}`) ??
      (packageName === own ? read(`${folder}/${file}`) : undefined);
  };
}

/**
 * The installed ROS: the `share` of each prefix, the first one first.
 *
 * @param prefixes As `AMENT_PREFIX_PATH` has them, with `:` between (`;` on Windows).
 */
export function amentSource(prefixes: string): InterfaceSource {
  const folders = prefixes.split(Deno.build.os === "windows" ? ";" : ":").filter(Boolean)
    .map((prefix) => folderSource(`${prefix}/share`));
  return (name) => {
    for (const folder of folders) {
      const text = folder(name);
      if (text !== undefined) return text;
    }
    return undefined;
  };
}
