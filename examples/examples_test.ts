/** @module */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const HERE = new URL(".", import.meta.url);
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FILES = [...Deno.readDirSync(HERE)].map((entry) => entry.name)
  .filter((name) => name.endsWith(".ts") && !name.endsWith("_test.ts")).sort();

/** What the first comment of an example says: the command, and what it prints. */
function promised(file: string): { command: string[]; lines: string[] } {
  const source = Deno.readTextFileSync(new URL(file, HERE));
  const comment = source.slice(0, source.indexOf("*/")).split("\n")
    .map((line) => line.replace(/^ \*? ?/, "")).join("\n");
  const fenced = (language: string) => {
    const block = new RegExp("```" + language + "\n([^]*?)\n```").exec(comment);
    assert.ok(block, `${file}: its first comment has no block of ${language}`);
    return block[1];
  };
  const command = fenced("sh").replaceAll("\\\n", " ").split(/\s+/);
  assert.deepEqual([command[0], command[1], command.at(-1)], ["deno", "run", `examples/${file}`]);
  return { command, lines: fenced("text").split("\n") };
}

/** A line in which `…` stands for anything. */
function pattern(line: string): RegExp {
  return new RegExp(
    `^${line.split("…").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join(".*")}$`,
  );
}

for (const file of FILES) {
  const { command, lines } = promised(file);
  // The sockets of Deno on Windows are not where these flags say.
  const ignore = Deno.build.os === "windows" && command.some((flag) => flag.includes("unix:"));
  Deno.test({
    name: `examples/${file} prints what it says, with the permissions it names`,
    ignore,
    fn: async () => {
      // Short, because sockets are bound in it.
      const folder = Deno.makeTempDirSync({ prefix: "pb-" });
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--no-prompt",
          ...command.slice(2).map((word) => word.replaceAll("$XDG_RUNTIME_DIR", folder)),
        ],
        cwd: ROOT,
        env: { XDG_RUNTIME_DIR: folder, NO_COLOR: "1" },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const watchdog = setTimeout(() => child.kill("SIGKILL"), 60_000);
      try {
        const { code, stdout, stderr } = await child.output();
        const decoder = new TextDecoder();
        const printed = decoder.decode(stdout).trimEnd().split("\n");
        assert.equal(decoder.decode(stderr), "");
        for (const [i, line] of lines.entries()) assert.match(printed[i] ?? "(end)", pattern(line));
        assert.deepEqual(printed.slice(lines.length), []);
        assert.equal(code, 0);
        // What it has left: at most the directory's own lock.
        const left = () => [...Deno.readDirSync(`${folder}/patchbay`)].map((entry) => entry.name);
        if ([...Deno.readDirSync(folder)].length > 0) assert.deepEqual(left(), [".directory.lock"]);
      } finally {
        clearTimeout(watchdog);
        Deno.removeSync(folder, { recursive: true });
      }
    },
  });
}

Deno.test("examples/README.md lists every example", () => {
  const readme = Deno.readTextFileSync(new URL("README.md", HERE));
  for (const file of FILES) assert.ok(readme.includes(`](${file})`), file);
});
