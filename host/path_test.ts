import assert from "node:assert/strict";
import * as node from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import fc from "fast-check";
import * as path from "./path.ts";

const part = fc.oneof(
  fc.constantFrom("", ".", "..", "/", "//", "a", "a.b", ".rc", "x.tar.gz", "ä b", "a%2fb", "#?"),
  fc.string({ maxLength: 6 }).filter((text) => !text.includes("\0")),
);
const parts = fc.array(part, { minLength: 1, maxLength: 6 }).map((all) => all.join("/"));

/** Node keeps a separator at the end, which means nothing to a file system. */
const bare = (text: string) => text.length > 1 ? text.replace(/\/+$/, "") || "/" : text;

Deno.test({
  name: "path: the same as node:path, whatever the path",
  ignore: Deno.build.os === "windows",
  fn() {
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        assert.equal(path.join(a, b), bare(node.join(a, b)));
        assert.equal(path.resolve(a, b), bare(node.resolve(a, b)));
        assert.equal(path.isAbsolute(a), node.isAbsolute(a));
        assert.equal(path.basename(a), node.basename(a));
        if (!/\/$|\/\/|^$/.test(a)) assert.equal(path.dirname(a), node.dirname(a));
        if (!/\.$|\/$/.test(a)) assert.equal(path.extname(a), node.extname(a));
        const absolute = path.resolve("/", a);
        assert.equal(path.fromFileUrl(path.toFileUrl(absolute)), absolute);
        assert.equal(fileURLToPath(path.toFileUrl(absolute)), absolute);
        assert.equal(path.fromFileUrl(pathToFileURL(absolute)), absolute);
      }),
      { numRuns: 5000 },
    );
  },
});

Deno.test("path: a suffix is taken off", () => {
  assert.equal(path.basename("/a/main.ts", ".ts"), "main");
  assert.equal(path.basename("/a/.ts", ".ts"), ".ts");
});
