/**
 * The task that writes TypeScript types of interfaces:
 *
 *     deno run -R -E plugins/ros2/types/generate.ts [--folder PATH]… NAME… > ros_types.ts
 *
 * Without names it writes those of all common interfaces. `AMENT_PREFIX_PATH` is looked at.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { commonInterfaces } from "./sources.ts";
import { fullName, Types } from "./registry.ts";
import { typescriptOf } from "./typescript.ts";

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: { folder: { type: "string", multiple: true } },
  });
  const types = new Types({
    folders: values.folder,
    amentPrefixPath: Deno.env.get("AMENT_PREFIX_PATH"),
    compile: false,
  });
  const names = positionals.length > 0
    ? positionals.map((name) => fullName(name))
    : [...commonInterfaces().keys()];
  console.log(typescriptOf(types, names).trimEnd());
}
