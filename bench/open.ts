/**
 * How long a bay takes to open, from the start of its process.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { median } from "./measure.ts";
import type { Row } from "./report.ts";
import { pinned, type Suite, type SuiteContext } from "./suite.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** npm packages that core itself may need; whatever else is loaded, a plugin asked for. */
const CORE_PACKAGES = ["deno-std", "fflate"];

/** Milliseconds from before the start of a process until its program says that it got there. */
async function startMs(context: SuiteContext, args: readonly string[]): Promise<number> {
  const [command, all] = pinned(context.placement.far, [
    "run",
    "-A",
    here("./open_program.ts"),
    ...args,
  ]);
  const before = performance.timeOrigin + performance.now();
  const { success, stdout } = await new Deno.Command(command, { args: all, stderr: "inherit" })
    .output();
  if (!success) throw new Error("the program failed");
  return Number(new TextDecoder().decode(stdout)) - before;
}

/** The npm packages in the module graph of the root package: what may be loaded at all. */
async function packages(): Promise<string[]> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", here("../mod.ts")],
  });
  const { stdout } = await command.output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: { npmPackage?: string }[];
  };
  const names = modules.flatMap(({ npmPackage }) => npmPackage?.replace(/@[^@]*$/, "") ?? []);
  return [...new Set(names)];
}

async function run(context: SuiteContext): Promise<Row[]> {
  const folder = await Deno.makeTempDir({ prefix: "pb-bench-" });
  try {
    const empty: number[] = [];
    const bay: number[] = [];
    const rounds = context.rounds * 3;
    for (let round = -2; round < rounds; round++) {
      empty.push(await startMs(context, ["empty"]));
      bay.push(await startMs(context, ["bay", folder]));
      if (round < 0) empty.length = bay.length = 0;
    }
    const foreign = (await packages()).filter((name) => !CORE_PACKAGES.includes(name));
    return [
      {
        figure: "from process start until a bay is open",
        unit: "ns",
        ours: { value: median(bay) * 1e6 },
        floor: { value: median(empty) * 1e6 },
        floorName: "empty program",
        ratio: median(bay.map((ms, i) => ms / empty[i])),
      },
      {
        figure: "of these, more than an empty program needs",
        unit: "ns",
        ours: { value: median(bay.map((ms, i) => ms - empty[i])) * 1e6 },
        target: { atMost: 30e6 },
      },
      {
        figure: `npm packages of plugins in the graph ${foreign.join(", ")}`.trimEnd(),
        unit: "count",
        ours: { value: foreign.length },
        target: { atMost: 0 },
      },
    ];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The suite. */
const suite: Suite = {
  summary: "opening a bay with in_process and uds in a fresh process, directory included",
  processes: 2,
  run,
};

export default suite;
