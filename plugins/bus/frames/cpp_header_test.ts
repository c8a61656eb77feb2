import assert from "node:assert/strict";
import fc from "fast-check";
import { PatchbayError } from "@patchbay/core";
import { readCppFrames, readYamlFrames } from "./mod.ts";

const header = (body: string, names = "X") =>
  `enum frame_type : uint8_t { NONE = 0, ${names}, ALL, COUNT };\n${body}`;
const tie = "R2D2_INTERNAL_FRAME_HELPER(frame_x_s, X)";
const withField = (field: string) => header(`struct frame_x_s {\n  ${field}\n};\n${tie}`);
const read = (text: string) => readCppFrames("frames.hpp", text, () => undefined);

/** What is refused: source, message, remedy. */
const REFUSED: [string, string, RegExp, RegExp][] = [
  ["int", withField("int count;"), /^frames\.hpp:3:3: int cannot be/, /int32_t/],
  ["long", withField("unsigned long n;"), /:3:3: unsigned long cannot/, /uint64_t/],
  ["std::string", withField("std::string name;"), /:3:3: string cannot/, /char name\[N\]/],
  ["std::vector", withField("std::vector<int> list;"), /:3:3: vector cannot/, /T name\[N\]/],
  ["pointer", withField("uint8_t *data;"), /:3:11: frame_x_s holds a pointer/, /value itself/],
  ["bit field", withField("uint8_t a : 3;"), /:3:11: frame_x_s has the bit field a/, /masks/],
  ["two dimensions", withField("uint8_t a[2][3];"), /:3:15: .* two dimensions/, /rows × columns/],
  ["no length", withField("uint8_t a[];"), /:3:12: frame_x_s\.a has no length/, /most it can hold/],
  ["length 0", withField("uint8_t a[1 - 1];"), /has the length 0/, /1 or more/],
  [
    "unknown length",
    withField("uint8_t a[SIZE];"),
    /:3:13: SIZE is not a constant/,
    /number itself/,
  ],
  ["division by zero", withField("uint8_t a[1 / 0];"), /divides by zero/, /number/],
  [
    "unknown type",
    withField("colour c;"),
    /:3:3: the type colour is not known/,
    /before it is used/,
  ],
  ["function", withField("void run();"), /the type void is not known/, /./],
  ["method", withField("bool on() const;"), /has a function/, /plain/],
  ["virtual", withField("virtual void run();"), /:3:3: .* has a function/, /plain/],
  ["constructor", withField("frame_x_s(int n) : a(n) {}"), /:3:3: .* has a function/, /plain/],
  ["destructor", withField("~frame_x_s();"), /:3:3: .* has a function/, /plain/],
  ["access", withField("private: bool a;"), /:3:3: frame_x_s says private/, /leave that out/],
  ["reference", withField("uint8_t &a;"), /:3:11: frame_x_s holds a pointer/, /value itself/],
  [
    "template",
    header(`template<int N> struct frame_x_s { uint8_t a[N]; };\n${tie}`),
    /:2:24: frame_x_s is a template/,
    /plain struct frame_x_s/,
  ],
  [
    "typedef of a struct",
    header(`typedef struct { bool a; } frame_x_s;\n${tie}`),
    /:2:1: a typedef of a struct/,
    /struct name \{/,
  ],
  ["union", header("union frame_x_s { bool a; };"), /:2:1: a union cannot/, /each alternative/],
  ["inner union", withField("union { int a; };"), /defines a union inside/, /before/],
  ["twice", withField("bool a; bool a;"), /:3:16: frame_x_s has a twice/, /another name/],
  ["condition", withField("#if X\n  bool a;\n#endif"), /:3:3: a condition inside/, /without #if/],
  [
    "too large",
    withField("uint8_t a[257];"),
    /:2:8: frame_x_s \(X\) has 257 bytes/,
    /ordinary message/,
  ],
  ["no tie", header("struct frame_x_s { bool a; };"), /X has no struct/, /HELPER\(frame_x_s, X\)/],
  [
    "tie of no struct",
    header(`struct frame_x { bool a; };\n${tie}`),
    /:3:1: .*no struct frame_x_s/,
    /did you mean frame_x\?/,
  ],
  [
    "tie of no frame",
    header(`struct frame_x_s { bool a; };\nR2D2_INTERNAL_FRAME_HELPER(frame_x_s, XY)`),
    /has no XY/,
    /did you mean X\?/,
  ],
  [
    "tied twice",
    header(`struct frame_x_s { bool a; };\n${tie}\n${tie}`),
    /:4:1: X is tied to frame_x_s already/,
    /./,
  ],
  [
    "inheritance",
    header(`struct base {};\nstruct frame_x_s : base {};\n${tie}`),
    /:3:18: .* inherits/,
    /fields here/,
  ],
  ["class", header("class frame_x_s {};"), /:2:1: a class cannot/, /plain struct/],
  ["code", header("int main() { return 0; }"), /:2:1: “int” begins something/, /only definitions/],
  ["unsized enum", header("enum colour { RED };"), /how large the enum colour is/, /: uint8_t/],
  [
    "enum value too large",
    header("enum colour : uint8_t { RED = 256 };"),
    /RED = 256 does not fit/,
    /./,
  ],
  [
    "enum twice",
    header("enum a : uint8_t { B };\nenum a : uint8_t { C };"),
    /:3:6: a is defined a second time; first in frames\.hpp:2/,
    /another name/,
  ],
  [
    "one number twice",
    "enum frame_type : uint8_t { NONE, A, B = 1 };\nstruct a_s {}; R2D2_INTERNAL_FRAME_HELPER(a_s, A) R2D2_INTERNAL_FRAME_HELPER(a_s, B)",
    /B and A both have the number 1/,
    /own/,
  ],
  ["no enumeration", "struct frame_x_s {};", /there is no enum frame_type/, /NONE = 0/],
  ["wide enumeration", "enum frame_type : uint16_t { NONE };", /is uint16/, /uint8_t/],
  [
    "definition under a condition",
    header("#ifdef ARM\nstruct frame_x_s { bool a; };\n#endif"),
    /:3:1: a definition under a condition/,
    /without #if/,
  ],
  ["open comment", "/* never", /:1:1: this comment has no end/, /\*\//],
  ["open struct", header("struct frame_x_s { bool a;"), /has no \}/, /./],
  ["missing semicolon", header("struct frame_x_s { bool a }"), /“}” stands where “;” should/, /./],
];

for (const [what, source, message, remedy] of REFUSED) {
  Deno.test(`frames: refused with place and remedy: ${what}`, () => {
    let thrown: unknown;
    try {
      read(source);
    } catch (error) {
      thrown = error;
    }
    assert.ok(thrown instanceof PatchbayError, "it was accepted");
    assert.equal(thrown.code, "invalid");
    assert.match(thrown.message, message);
    if (remedy.source !== ".") assert.match(thrown.remedy ?? "", remedy);
  });
}

Deno.test("frames: the place is that of the included file, and lost files are named", () => {
  const files: Record<string, string> = { "enums.hpp": "\nenum colour : uint8_t { RED, };" };
  const source = `#include "enums.hpp"\n${withField("colour c;")}`;
  const found = readCppFrames("a.hpp", source, (name) => ({ file: name, text: files[name] }));
  assert.equal(found.enums.get("colour")?.values[0].name, "RED");
  assert.throws(() => readCppFrames("a.hpp", source, () => undefined), {
    remedy: /not found: enums\.hpp/,
  });
  files["enums.hpp"] = "\nenum colour { RED };";
  assert.throws(
    () => readCppFrames("a.hpp", source, (name) => ({ file: name, text: files[name] })),
    { message: /^enums\.hpp:2:6:/ },
  );
});

Deno.test("frames: two headers that include each other are read once", () => {
  const files: Record<string, string> = { "b.hpp": '#include "a.hpp"\nstruct b_s { bool b; };' };
  const source = `#include "b.hpp"\n${withField("b_s b;")}`;
  assert.ok(
    readCppFrames("a.hpp", source, (name) => ({ file: name, text: files[name] ?? source })),
  );
});

Deno.test("frames: any text is read, or refused as invalid", () => {
  const words = fc.constantFrom(
    ..."struct frame_x_s { } ; ( ) [ ] < > :: , = enum frame_type : uint8_t bool a 1 0x 'c' \"s\" /* */ // \n # #if #endif #define R2D2_INTERNAL_FRAME_HELPER template using namespace"
      .split(" "),
  );
  const texts = fc.oneof(fc.string(), fc.array(words, { maxLength: 60 }).map((w) => w.join(" ")));
  fc.assert(
    fc.property(texts, (text) => {
      for (const reader of [() => read(text), () => readYamlFrames("f.yaml", text)]) {
        try {
          reader();
        } catch (error) {
          assert.ok(error instanceof PatchbayError, `${String(error)} at ${JSON.stringify(text)}`);
          assert.equal(error.code, "invalid");
        }
      }
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("frames: YAML errors name the path", () => {
  const refused: [string, RegExp][] = [
    ["frames: { X: { fields: { a: int } } }", /frames\.X\.fields\.a has the type “int”/],
    ["frames: { X: { feilds: {} } }", /frames\.X\.feilds is not known/],
    ["frames: { X: { number: 300 } }", /frames\.X\.number is not 1 to 255/],
    ["frames: { X: { number: one } }", /frames\.X\.number is "one"/],
    ["frames: [X]", /frames is not a table/],
    ["frames: { X-Y: {} }", /frames\.X-Y is no name/],
    ["things: {}", /things is not known/],
    ["enums: { e: { values: { A: 256 } } }", /enums\.e\.values\.A 256 does not fit/],
    ["a: b: c", /this is not YAML/],
  ];
  for (const [text, message] of refused) {
    assert.throws(() => readYamlFrames("f.yaml", text), { code: "invalid", message });
  }
});
