/**
 * Everything that must hold before a commit: format, lint, types, documentation, layers, tests. It
 * stops at the first that fails and prints what was done.
 *
 * @module
 */
import { PROJECT_ROOT } from "./workspace.ts";

/** One check: what it is called and the arguments of `deno`. */
export interface Step {
  /** What the summary calls it. */
  name: string;
  /** The arguments of `deno`. */
  args: string[];
}

/** All checks, in order. */
export const STEPS: readonly Step[] = [
  { name: "format", args: ["task", "-q", "fmt:check"] },
  { name: "lint", args: ["task", "-q", "lint"] },
  { name: "types", args: ["task", "-q", "check"] },
  { name: "docs", args: ["task", "-q", "doc:lint"] },
  {
    name: "layers",
    args: ["test", "-A", "-q", "tests/layers_test.ts", "tests/browser_graph_test.ts"],
  },
  { name: "tests", args: ["task", "-q", "test"] },
];

if (import.meta.main) {
  const rows: string[] = [];
  let failed = "";
  for (const { name, args } of STEPS) {
    if (failed !== "") {
      rows.push(`not run  ${name}`);
      continue;
    }
    console.log(`== ${name}`);
    const start = performance.now();
    const { code } = await new Deno.Command(Deno.execPath(), { args, cwd: PROJECT_ROOT }).spawn()
      .status;
    if (code !== 0) failed = name;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    rows.push(`${code === 0 ? "ok     " : "FAILED "}  ${name.padEnd(8)} ${seconds} s`);
  }
  console.log(`\n${rows.join("\n")}`);
  Deno.exit(failed === "" ? 0 : 1);
}
