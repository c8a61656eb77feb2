import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { PatchbayError } from "@patchbay/core";
import { digestsOf, type FrameClass, FrameSet, type FrameValue, readFrames } from "./mod.ts";
import * as example from "../example/frames.ts";
import * as generated from "../testdata/frames.ts";
import { requireOrIgnore } from "../../../tests/require.ts";

const folder = fileURLToPath(new URL("../testdata", import.meta.url));

const { frames } = generated;
const point = (x: number, y: number, quality: number[]) => ({ x, y, quality });
const samples: FrameValue[] = [
  new generated.ButtonState({ pressed: true }),
  new generated.LedState({ state: true, colour: generated.Colour.BLUE }),
  new generated.Distance({ mm: 65_535 }),
  new generated.Display8x8Character({ x: 1, y: 2, characters: "grün" }),
  new generated.Display8x8Character({ x: 1, y: 2, characters: "c".repeat(243) }),
  new generated.Temperatures({ sensorId: 4_294_967_295, name: "outside", tenths: [-400, 215] }),
  new generated.Temperatures({ name: "twelve bytes", tenths: [] }),
  new generated.Pose({
    stampNs: -9_223_372_036_854_775_808n,
    position: point(0.5, -1e300, [1, -2, 3]),
    corners: [point(1, 2, [0, 0, 0]), point(3, 4, [5, 6, 7])],
    valid: true,
  }),
  new generated.Move({
    speed: -128,
    level: generated.Level.HIGH,
    mark: "!",
    until: 2n ** 64n - 1n,
  }),
  new generated.Route({ pathId: 9, points: [point(1, 2, [3, 4, 5])] }),
  new generated.Ping(),
  new generated.External({
    length: 1,
    id: { octets: Uint8Array.of(10, 20) },
    type: generated.FrameType.BUTTON_STATE,
    data: Uint8Array.of(1),
  }),
  new generated.Identity({ name: "led" }),
];
const typeOf = (frame: FrameValue) => (frame.constructor as unknown as FrameClass).type;

Deno.test("frames: what is written is read again, by every class", () => {
  assert.deepEqual(
    new Set(samples.map(typeOf)),
    new Set([...frames.byName.values()].map((c) => c.type)),
  );
  for (const sample of samples) {
    assert.deepEqual(frames.decode(typeOf(sample), frames.encode(sample)), sample);
  }
});

Deno.test("frames: the bytes are packed, little-endian, and the last array is cut short", () => {
  const hex = (frame: FrameValue) => frames.encode(frame).toHex();
  assert.equal(hex(new generated.Distance({ mm: 0x1234 })), "3412");
  assert.equal(
    hex(new generated.Display8x8Character({ x: 1, y: 2, characters: "ab" })),
    "01026162",
  );
  assert.equal(
    hex(new generated.Temperatures({ sensorId: 1, name: "in", tenths: [-1, 2] })),
    "01000000" + "696e00000000000000000000" + "ffff" + "0200",
  );
  assert.equal(hex(new generated.Ping()), "");
});

Deno.test("frames: a value that does not fit is refused by name", () => {
  const refused: [FrameValue, string, RegExp][] = [
    [new generated.Distance({ mm: 65_536 }), "invalid", /DISTANCE\.mm is 65536/],
    [new generated.Distance({ mm: 1.5 }), "invalid", /DISTANCE\.mm is 1\.5/],
    [new generated.Move({ until: -1n }), "invalid", /MOVE\.until is -1n/],
    [new generated.Identity({ name: "ä".repeat(33) }), "too_large", /IDENTITY\.name has 66 bytes/],
    [new generated.Identity({ name: "a\0b" }), "invalid", /NUL/],
    [new generated.Temperatures({ tenths: Array(15).fill(0) }), "too_large", /tenths has 15/],
    [
      new generated.LedState({ colour: 1 as generated.Colour }),
      "invalid",
      /LED_STATE\.colour is 1/,
    ],
    [
      new generated.Pose({ position: point(NaN, 0, [200, 0, 0]) }),
      "invalid",
      /POSE\.position\.quality is 200/,
    ],
  ];
  for (const [frame, code, message] of refused) {
    assert.throws(() => frames.encode(frame), { code, message });
  }
});

Deno.test("frames: EXTERNAL wraps a frame for another robot, whoever has defined it", () => {
  const distance = new generated.Distance({ mm: 0x1234 });
  const wrapped = frames.wrap(distance, [10, 20]);
  assert.deepEqual(
    wrapped,
    new generated.External({
      length: 2,
      id: { octets: Uint8Array.of(10, 20) },
      type: generated.FrameType.DISTANCE,
      data: Uint8Array.of(0x34, 0x12),
    }),
  );
  for (const sample of samples) {
    if (frames.encode(sample).length > 252) continue;
    const external = frames.decode(
      generated.FrameType.EXTERNAL,
      frames.encode(frames.wrap(sample, [0, 255])),
    );
    assert.deepEqual(frames.unwrap(external), { address: [0, 255], frame: sample });
  }
  // Those that the bus defines itself are called otherwise, and are the same on the wire.
  const hello = new example.Text({ text: "hello" });
  assert.deepEqual(example.frames.unwrap(example.frames.wrap(hello, [1, 2])).frame, hello);

  const route = new generated.Route({
    points: Array.from({ length: 10 }, () => point(1, 2, [3, 4, 5])),
  });
  const full = new generated.External({ data: new Uint8Array(252) });
  assert.throws(() => frames.wrap(full, [1, 2]), { code: "too_large", message: /256 bytes/ });
  assert.equal(frames.encode(frames.wrap(route, [1, 2])).length, 4 + 1 + 10 * 15);
  for (const address of [[1, 256], [-1, 0], [1.5, 0], [1]]) {
    assert.throws(() => frames.wrap(distance, address as [number, number]), { code: "invalid" });
  }
  assert.throws(() => frames.unwrap(distance), { code: "invalid", message: /DISTANCE/ });
  const cut = new generated.External({ length: 3, data: Uint8Array.of(1) });
  assert.throws(() => frames.unwrap(cut), { code: "protocol", message: /length is 3, and 1/ });
  const unknown = new generated.External({ length: 0 });
  assert.throws(() => frames.unwrap(unknown), { code: "not_found" });
  const none = new FrameSet("none", [generated.Distance]);
  assert.throws(() => none.wrap(distance, [1, 2]), { code: "invalid", message: /no EXTERNAL/ });
});

Deno.test("frames: any bytes are read, or refused with a code", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...frames.byName.values()),
      fc.uint8Array({ maxLength: 300 }),
      (frame, bytes) => {
        try {
          frames.encode(frames.decode(frame.type, bytes));
        } catch (error) {
          assert.ok(error instanceof PatchbayError, String(error));
        }
      },
    ),
    { numRuns: 5_000 },
  );
});

Deno.test("frames: the generated files are not stale", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-read",
      fileURLToPath(new URL("main.ts", import.meta.url)),
      `${folder}/frames.hpp`,
      "--check",
    ],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
});

Deno.test("frames: YAML of the same content has the same fingerprint", async () => {
  const file = `${folder}/frames.yaml`;
  const definitions = readFrames(file, await Deno.readTextFile(file), () => undefined);
  assert.equal((await digestsOf(definitions)).fingerprint, frames.fingerprint);
});

/** Sends every sample through a program that unpacks and packs it; gives back what it printed. */
async function through(command: string, args: string[]): Promise<string[]> {
  const child = new Deno.Command(command, { args, stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines().join("\n") + "\n"));
  await writer.close();
  const { success, stdout } = await child.output();
  assert.ok(success, `${command} failed`);
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => line.trim());
}

const lines = () => samples.map((each) => `${typeOf(each)} ${frames.encode(each).toHex()}`.trim());

const runs = (command: string, arg: string) => async () =>
  (await new Deno.Command(command, { args: [arg] }).output()).success;
const python = await requireOrIgnore(
  "python3",
  runs("python3", "--version"),
  "apt-get install python3",
);
const gcc = await requireOrIgnore("gcc", runs("g++", "--version"), "apt-get install gcc g++");

Deno.test({
  name: python.name("frames: Python reads and writes the same bytes"),
  ignore: python.ignore,
  async fn() {
    const printed = await through("python3", ["-B", `${folder}/roundtrip.py`, folder]);
    assert.deepEqual(printed, [...lines(), `fingerprint ${frames.fingerprint}`]);
  },
});

for (const [compiler, language] of [["gcc", "c99"], ["g++", "c++11"]]) {
  Deno.test({
    name: gcc.name(`frames: ${compiler} in ${language} reads and writes the same bytes`),
    ignore: gcc.ignore,
    async fn() {
      const out = await Deno.makeTempDir();
      try {
        const { success, stderr } = await new Deno.Command(compiler, {
          args: [
            ...(compiler === "g++" ? ["-x", "c++"] : []),
            `-std=${language}`,
            "-Wall",
            "-Wextra",
            "-Werror",
            `-I${folder}`,
            `${folder}/roundtrip.c`,
            "-o",
            `${out}/roundtrip`,
          ],
        }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
        const printed = await through(`${out}/roundtrip`, []);
        assert.deepEqual(printed, [...lines(), `fingerprint ${frames.fingerprint}`]);
      } finally {
        await Deno.remove(out, { recursive: true });
      }
    },
  });
}
