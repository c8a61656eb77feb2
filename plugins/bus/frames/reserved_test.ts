import assert from "node:assert/strict";
import { writeCHeader } from "./c_header.ts";
import type { FrameDefinitions } from "./definitions.ts";
import { digestsOf, generateFrames, readFrames } from "./generate.ts";
import { writePython } from "./python.ts";
import { requireOrIgnore } from "../../../tests/require.ts";

const runs = (command: string, arg: string) => async () =>
  (await new Deno.Command(command, { args: [arg] }).output()).success;
const python = await requireOrIgnore(
  "python3",
  runs("python3", "--version"),
  "apt-get install python3",
);
const gcc = await requireOrIgnore("gcc", runs("g++", "--version"), "apt-get install gcc g++");

/** What a language keeps for itself, or the generated code uses. */
const WORDS = `
False None True and as assert async await break class continue def del elif else except finally for
from global if import in is lambda nonlocal not or pass raise return try while with yield match case
pack unpack mro name value TYPE NAME LAYOUT FORMAT MAX_BYTES FRAMES field struct list int float str
bool bytes len range super self cls raw frame values at each classmethod dataclass IntEnum Colour
_sunder_ __private __dunder__ _Bool _x __init__ __eq__ __dict__ __class__
auto char const default do double enum extern goto inline long register restrict short signed
sizeof static switch typedef union unsigned void volatile alignas alignof constexpr false nullptr
static_assert thread_local true typeof catch char8_t char16_t char32_t co_await concept consteval
constinit decltype delete dynamic_cast explicit export friend mutable namespace new noexcept operator
private protected public requires template this throw typeid typename using virtual wchar_t bitand
bitor compl not_eq xor int8_t uint8_t uint64_t size_t linux unix errno stdin NULL out end used memcpy
memset memchr restrict_ class_ FRAME_WORDS FRAME_WORDS_BYTES COLOUR_RED`.trim().split(/\s+/);

/** Every word is a field of one frame, an enumerator, and a struct that stands in another frame. */
function yaml(): string {
  // These would be called like something else of the same definitions: another test.
  const structs = WORDS.filter((word) =>
    !/^(Colour|restrict_|class_|__?[A-Za-z]+_*)$/.test(word) &&
    WORDS.filter((other) => spelling(other) === spelling(word)).length === 1
  );
  const some = structs.filter((word) =>
    /^(class|restrict|None|linux|namespace|list|bool)$/.test(word)
  );
  return JSON.stringify({
    enums: { colour: { values: ["RED", ...WORDS.filter((word) => word !== "RED")] } },
    structs: Object.fromEntries(some.map((word) => [word, { n: "uint8" }])),
    frames: {
      WORDS: { fields: Object.fromEntries(WORDS.map((word) => [word, "uint8"])) },
      LISTS: {
        fields: {
          list: "uint8[2]",
          field: "colour",
          int: "colour[2]",
          bool: "bool[2]",
          str: "char[3]",
          restrict: "uint8[4]",
        },
      },
      NESTED: { fields: Object.fromEntries(some.map((word) => [word, word])) },
    },
  });
}

const spelling = (word: string) => word.toLowerCase().replaceAll("_", "");

function definitions(): FrameDefinitions {
  return readFrames("words.yaml", yaml(), () => undefined);
}

// Not all languages at once: in TypeScript some of them would be alike, which is refused.
async function written(write: typeof writePython): Promise<string> {
  return write(definitions(), await digestsOf(definitions()), "test");
}

async function ran(command: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test({
  name: python.name("frames: names that Python keeps for itself are spelled otherwise there"),
  ignore: python.ignore,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/words.py`, await written(writePython));
      await Deno.writeTextFile(
        `${folder}/main.py`,
        `import dataclasses, words
raw = bytes(range(1, ${WORDS.length + 1}))
frame = words.Words.unpack(raw)
assert frame.pack() == raw
# Each field is one of its own, and can be set by its name.
names = [each.name for each in dataclasses.fields(words.Words)]
assert len(set(names)) == ${WORDS.length}, names
assert words.Words(**dict(zip(names, raw))).pack() == raw
assert len(words.Colour) == ${WORDS.length + 1}
raw = bytes([1, 2, 3, 4, 5, 1, 0]) + b"ab\\0" + bytes([9, 8])
assert words.Lists.unpack(raw).pack()[:12] == raw, words.Lists.unpack(raw)
raw = bytes(range(len(dataclasses.fields(words.Nested))))
assert words.Nested.unpack(raw).pack() == raw
assert words.Words().TYPE != words.Lists().TYPE
`,
      );
      await ran("python3", ["-B", `${folder}/main.py`]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

for (
  const [compiler, standard] of [["gcc", "c99"], ["gcc", "gnu11"], ["g++", "c++11"], [
    "g++",
    "c++20",
  ]]
) {
  Deno.test({
    name: gcc.name(`frames: names that ${standard} keeps for itself are spelled otherwise there`),
    ignore: gcc.ignore,
    async fn() {
      const folder = await Deno.makeTempDir();
      try {
        await Deno.writeTextFile(`${folder}/words.h`, await written(writeCHeader));
        await Deno.writeTextFile(
          `${folder}/main.c`,
          `#include <errno.h>
#include <stdio.h>
#include "words.h"
int main(void) {
    struct frame_words_s frame;
    uint8_t in[${WORDS.length}], out[256];
    for (size_t n = 0; n < sizeof in; n++) in[n] = (uint8_t) (n + 1);
    /* A field that the compiler takes for something else would not be there. */
    if (sizeof frame != sizeof in || sizeof(struct frame_lists_s) != 14) return 1;
    if (!frame_unpack_words(&frame, in, sizeof in) || frame.restrict__ == frame.class__) return 2;
    if (frame_pack_words(&frame, out) != sizeof in || memcmp(in, out, sizeof in) != 0) return 3;
    return 0;
}
`,
        );
        await ran(compiler, [
          ...(compiler === "g++" ? ["-x", "c++"] : []),
          `-std=${standard}`,
          "-Wall",
          "-Wextra",
          "-Werror",
          `${folder}/main.c`,
          "-o",
          `${folder}/main`,
        ]);
        await ran(`${folder}/main`, []);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

Deno.test("frames: what would have one name in the generated code is refused by name", async () => {
  const generated = async (text: unknown) =>
    await generateFrames(readFrames("x.yaml", JSON.stringify(text), () => undefined), "test");
  await assert.rejects(
    generated({
      enums: { colour: { values: ["RED"] } },
      structs: { colour_s: { n: "uint8" } },
      frames: { A: { fields: { one: "colour_s", two: "colour" } } },
    }),
    { code: "invalid", message: /colour_s and colour would both be called Colour in Python/ },
  );
  await assert.rejects(
    generated({ frames: { A: { fields: { x: "uint8" } }, A_BYTES: { fields: { x: "uint8" } } } }),
    { code: "invalid", message: /would both be called FRAME_A_BYTES in C/ },
  );
  await assert.rejects(
    generated({ frames: { MAX: { fields: { x: "uint8" } } } }),
    { code: "invalid", message: /would both be called FRAME_MAX_BYTES in C/ },
  );
  await assert.rejects(
    generated({
      enums: { colour: { values: ["RED", "not a name"] } },
      frames: { A: { fields: { x: "colour" } } },
    }),
    { code: "invalid", message: /not a name is no name/ },
  );
});
