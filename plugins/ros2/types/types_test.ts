/**
 * Definitions, hashes and encoding, against values that others have published.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { PatchbayError } from "@patchbay/core/errors";
import { commonInterfaces, parseAction, parseMessage, parseService, Types } from "./mod.ts";
import { typescriptOf } from "./typescript.ts";

const compiled = new Types({ compile: true });
const walking = new Types({ compile: false });

/** As ROS 2 itself ships them: type description files, rmw_zenoh's design, recordings. */
const HASHES: Readonly<Record<string, string>> = {
  "std_msgs/msg/String": "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
  "std_msgs/msg/Empty": "20b625256f32d5dbc0d04fee44f43c41e51c70d3502f84b4a08e7a9c26a96312",
  "std_msgs/msg/Bool": "feb91e995ff9ebd09c0cb3d2aed18b11077585839fb5db80193b62d74528f6c9",
  "std_msgs/msg/Float64": "705ba9c3d1a09df43737eb67095534de36fd426c0587779bda2bc51fe790182a",
  "std_msgs/msg/Header": "f49fb3ae2cf070f793645ff749683ac6b06203e41c891e17701b1cb597ce6a01",
  "geometry_msgs/msg/Vector3": "cc12fe83e4c02719f1ce8070bfd14aecd40f75a96696a67a2a1f37f7dbb0765d",
  "geometry_msgs/msg/Twist": "9c45bf16fe0983d80e3cfe750d6835843d265a9a6c46bd2e609fcddde6fb8d2a",
  "geometry_msgs/msg/PoseStamped":
    "10f3786d7d40fd2b54367835614bff85d4ad3b5dab62bf8bca0cc232d73b4cd8",
  "sensor_msgs/msg/Imu": "7d9a00ff131080897a5ec7e26e315954b8eae3353c3f995c55faf71574000b5b",
  "sensor_msgs/msg/Range": "b42b62562e93cbfe9d42b82fe5994dfa3d63d7d5c90a317981703f7388adff3a",
  "nav_msgs/msg/Odometry": "3cc97dc7fb7502f8714462c526d369e35b603cfc34d946e3f2eda2766dfec6e0",
  "rosgraph_msgs/msg/Clock": "692f7a66e93a3c83e71765d033b60349ba68023a8c689a79e48078bcb5c58564",
  "rcl_interfaces/msg/Log": "e28ce254ca8abc06abf92773b74602cdbf116ed34fbaf294fb9f81da9f318eac",
  "rcl_interfaces/msg/ParameterEvent":
    "043e627780fcad87a22d225bc2a037361dba713fca6a6b9f4b869a5aa0393204",
  "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
  "action_msgs/msg/GoalStatusArray":
    "6c1684b00f177d37438febe6e709fc4e2b0d4248dca4854946f9ed8b30cda83e",
  "example_interfaces/srv/AddTwoInts":
    "e118de6bf5eeb66a2491b5bda11202e7b68f198d6f67922cf30364858239c81a",
  "std_srvs/srv/SetBool": "abe9e4bb6b41b40e6789712c00ec8871923e089af3f667a79992a428cff2da0a",
  "std_srvs/srv/SetBool_Request":
    "c62fbb99d94e1b25e8ef9e109f9581956bb1b3361a45a4e5810c36a90d29932e",
  "std_srvs/srv/SetBool_Response":
    "d0814e7f7b4880ab77e9c57426c7aa1562ab69f11eef8e2e968812f9cbd0b059",
  "std_srvs/srv/SetBool_Event": "3c4c20015afb4303eafd347b1d6a786f171a89c814726961a9593ef10df878cf",
  "std_srvs/srv/Trigger": "eeff2cd6fa5ad9d27cdf4dec64818317839b62f212a91e6b5304b634b2062c5f",
  "std_srvs/srv/Trigger_Request":
    "d010825374ce8918e72bfd826c82603e60f45419e932ea976f807b74a863a199",
  "example_interfaces/action/Fibonacci":
    "9508051da1ea4658de144b09bd0690ff3de52104683d847aed764d2915906f51",
  "example_interfaces/action/Fibonacci_Goal":
    "226cb437e4355dcd3e914f930382a3b0cc1da81545bd319ed554e95a03255f51",
  "example_interfaces/action/Fibonacci_SendGoal":
    "d1a57fb2a4afe8c21e34fb10db206f16ce6729b28531141472df92277c55b557",
  "example_interfaces/action/Fibonacci_GetResult":
    "1b0de0d5d29dc955d92f546706568428632771db13ec84c15ec1c1a59f424a57",
  "example_interfaces/action/Fibonacci_FeedbackMessage":
    "c1de71afd52e49a89c53d8262366884185bc0a02f78ce051c4e46b0a7fe59bb2",
};

for (const [name, hash] of Object.entries(HASHES)) {
  Deno.test(`hash: ${name}`, () => assert.equal(compiled.hash(name), `RIHS01_${hash}`));
}

const unhex = (text: string) => Uint8Array.from(text.match(/../g)!, (two) => parseInt(two, 16));

/** Payloads that others have published, and what is in them. */
const PAYLOADS: [name: string, payload: string, value: unknown][] = [
  ["std_msgs/msg/Empty", "0001000000", { structure_needs_at_least_one_member: 0 }],
  [
    "tf2_msgs/msg/TFMessage",
    "0001000001000000cce0d158f08cf9060a000000626173655f6c696e6b00000006000000" +
    "7261646172000000ae47e17a14ae0e400000000000000000000000000000000000000000" +
    "0000000000000000000000000000000000000000000000000000f03f",
    {
      transforms: [{
        header: { stamp: { sec: 1490149580, nanosec: 117017840 }, frame_id: "base_link" },
        child_frame_id: "radar",
        transform: { translation: { x: 3.835, y: 0, z: 0 }, rotation: { x: 0, y: 0, z: 0, w: 1 } },
      }],
    },
  ],
];

for (const types of [compiled, walking]) {
  const codec = types === compiled ? "compiled" : "walking";
  for (const [name, payload, value] of PAYLOADS) {
    Deno.test(`cdr: ${codec}: a published ${name}`, () => {
      const type = types.message(name);
      assert.deepEqual(type.decode(unhex(payload)), value);
      assert.deepEqual(type.encode(value), unhex(payload));
    });
  }

  Deno.test(`cdr: ${codec}: big-endian input`, () => {
    const type = new Types({ compile: codec === "compiled", definitions: ENDIAN }).message(
      "t/msg/E",
    );
    assert.deepEqual(
      type.decode(unhex(
        "00000000" + "01000000" + "00000003" + "61620000" + "00000000" + "3ff8000000000000" +
          "00000002" + "0001fffe" + "fffffffffffffffe",
      )),
      { flag: true, name: "ab", x: 1.5, list: [1, -2], big: -2n },
    );
  });
}

const ENDIAN = { "t/msg/E": "bool flag\nstring name\nfloat64 x\nint16[] list\nint64 big" };

const EVERYTHING: Record<string, string> = {
  "t/msg/Leaf": "uint8 a\nfloat64 b\nstring c",
  "t/msg/Flat": "uint8 a\nint16 b\nfloat64 c\nbool[3] d",
  "t/msg/Everything": [
    "int8 MIN=-128",
    'string HELLO="a # b"',
    ..."bool byte char int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 string wstring"
      .split(" ").flatMap((type) => [
        `${type} one_${type}`,
        `${type}[3] three_${type}`,
        `${type}[] many_${type}`,
        `${type}[<=4] few_${type}`,
      ]),
    "string<=5 short",
    "string<=5[] shorts",
    "Leaf leaf",
    "Leaf[2] leaves",
    "Leaf[] more_leaves",
    "Flat flat",
    "Flat[2] flats",
    "Flat[] more_flats",
    "uint8 last",
  ].join("\n"),
};

const arbitraryOf: Record<string, fc.Arbitrary<unknown>> = {
  bool: fc.boolean(),
  byte: fc.nat(255),
  char: fc.nat(255),
  uint8: fc.nat(255),
  int8: fc.integer({ min: -128, max: 127 }),
  uint16: fc.nat(65_535),
  int16: fc.integer({ min: -32_768, max: 32_767 }),
  uint32: fc.nat(0xffffffff),
  int32: fc.integer(),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  uint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  float32: fc.float(),
  float64: fc.double(),
  string: fc.string({ unit: "grapheme", maxLength: 300 }).map((text) => text.replaceAll("\0", "")),
  wstring: fc.string({ unit: "grapheme", maxLength: 20 }),
};

/** Any value of a message. */
function arbitrary(types: Types, name: string): fc.Arbitrary<unknown> {
  const entries = types.definition(name).fields.map(({ name: field, type }) => {
    const { array, base, stringBound } = type;
    const one = base === "message"
      ? arbitrary(types, type.message as string)
      : stringBound > 0
      ? fc.string({ maxLength: stringBound }).map((text) => text.replaceAll("\0", ""))
      : arbitraryOf[base];
    if (array === undefined) return [field, one] as const;
    const maxLength = array.kind === "unbounded" ? 20 : array.size;
    const minLength = array.kind === "fixed" ? array.size : 0;
    const isBytes = base === "uint8" || base === "byte" || base === "char";
    return [
      field,
      isBytes ? fc.uint8Array({ minLength, maxLength }) : fc.array(one, { minLength, maxLength }),
    ] as const;
  });
  return fc.record(Object.fromEntries(entries), { noNullPrototype: true });
}

Deno.test("cdr: both codecs write the same, and read back what was written", () => {
  const a = new Types({ compile: true, definitions: EVERYTHING });
  const b = new Types({ compile: false, definitions: EVERYTHING });
  const name = "t/msg/Everything";
  const [fast, slow] = [a.message(name), b.message(name)];
  const rounds = { numRuns: 200 };
  // Whatever stood there before: none of it may be told.
  const used = (bytes: number) => new Uint8Array(bytes).fill(0xa5);
  fc.assert(
    fc.property(arbitrary(b, name), (value) => {
      const payload = slow.encode(value);
      assert.deepEqual(fast.encode(value), payload);
      assert.deepEqual(fast.encode(value, used), payload);
      const read = slow.decode(payload);
      assert.deepEqual(fast.decode(payload), read);
      assert.deepEqual(slow.encode(read), payload);
      assert.deepEqual({ ...read as object }, { ...value as object });
    }),
    rounds,
  );
  for (const cut of [1, 3, 8]) {
    fc.assert(
      fc.property(arbitrary(b, name), (value) => {
        const payload = slow.encode(value).slice(0, -cut);
        for (const type of [fast, slow]) assert.throws(() => type.decode(payload), PROTOCOL);
      }),
      { numRuns: 20 },
    );
  }
});

const PROTOCOL = (error: unknown) => error instanceof PatchbayError && error.code === "protocol";

Deno.test("cdr: changed bytes are refused or read as something, and take no memory", () => {
  const a = new Types({ compile: true, definitions: EVERYTHING });
  const b = new Types({ compile: false, definitions: EVERYTHING });
  const [fast, slow] = [a.message("t/msg/Everything"), b.message("t/msg/Everything")];
  fc.assert(
    fc.property(
      arbitrary(b, "t/msg/Everything"),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
      (value, changes) => {
        const payload = slow.encode(value);
        for (const [at, byte] of changes) payload[4 + at % (payload.length - 4)] = byte;
        const results = [fast, slow].map((type) => {
          try {
            return type.decode(payload);
          } catch (error) {
            assert.ok(PROTOCOL(error), String(error));
            return "refused";
          }
        });
        assert.deepEqual(results[0], results[1]);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("cdr: every common message is the same by both codecs, from its defaults", () => {
  for (const name of commonInterfaces().keys()) {
    if (name.split("/")[1] !== "msg") continue;
    const [fast, slow] = [compiled.message(name), walking.message(name)];
    const payload = slow.encode({});
    assert.deepEqual(fast.encode({}), payload, name);
    assert.deepEqual(fast.decode(payload), slow.decode(payload), name);
  }
  const pose = compiled.message("geometry_msgs/Pose").decode(
    compiled.message("geometry_msgs/Pose").encode({ position: { y: 2 } }),
  );
  assert.deepEqual(pose, {
    position: { x: 0, y: 2, z: 0 },
    orientation: { x: 0, y: 0, z: 0, w: 1 },
  });
});

const WRONG: [value: unknown, told: RegExp][] = [
  [{ leaf: { b: "1" } }, /Everything\.leaf\.b must be a number, not "1"/],
  [{ leaf: 3 }, /Everything\.leaf must be an object/],
  [{ leaf: null }, /must be an object, not null/],
  [{ one_int8: 128 }, /one_int8 must be an integer from -128 to 127, not number 128/],
  [{ one_uint32: -1 }, /one_uint32 must be an integer/],
  [{ one_uint16: 1.5 }, /one_uint16 must be an integer/],
  [{ one_int64: 2n ** 63n }, /one_int64 must be a bigint of 64 bits/],
  [{ one_bool: 1 }, /one_bool must be a boolean/],
  [{ one_string: 5 }, /one_string must be a string/],
  [{ short: "123456" }, /short must be a string of at most 5 characters/],
  [{ three_float64: [1, 2] }, /three_float64 must be an array of 3 elements/],
  [{ few_int32: [1, 2, 3, 4, 5] }, /few_int32 must be an array of at most 4 elements/],
  [{ many_float64: [1, "2"] }, /many_float64\[1\] must be a number/],
  [{ many_uint8: [1, 256] }, /many_uint8\[1\] must be an integer/],
  [{ more_leaves: [{}, { c: 1 }] }, /more_leaves\[.*\.c must be a string/],
  [{ many_string: [undefined] }, /many_string\[0\] must be a string/],
  [[], /must be an object/],
];

for (const [value, told] of WRONG) {
  Deno.test(`cdr: refused: ${told.source}`, () => {
    for (const compile of [true, false]) {
      const type = new Types({ compile, definitions: EVERYTHING }).message("t/msg/Everything");
      assert.throws(() => type.encode(value), { code: "invalid", message: told });
    }
  });
}

Deno.test("cdr: typed arrays and safe integers do as well", () => {
  const type = new Types({ definitions: EVERYTHING }).message("t/msg/Everything");
  const plain = { many_float64: [1.5, 2], many_int16: [1, -2], one_int64: 7n, many_int64: [1n] };
  const typed = {
    many_float64: Float64Array.of(1.5, 2),
    many_int16: Int16Array.of(1, -2),
    one_int64: 7,
    many_int64: BigInt64Array.of(1n),
  };
  assert.deepEqual(type.encode(typed), type.encode(plain));
  // Of another kind: element by element.
  assert.deepEqual(
    type.encode({ many_float64: Int8Array.of(1, 2) }),
    type.encode({ many_float64: [1, 2] }),
  );
});

Deno.test("cdr: bytes are copies, unless the payload is the reader's own", () => {
  const image = compiled.message("sensor_msgs/Image");
  const payload = image.encode({ data: [1, 2, 3] });
  const read = (owned: boolean) => (image.decode(payload, owned) as { data: Uint8Array }).data;
  assert.notEqual(read(false).buffer, payload.buffer);
  assert.equal(read(true).buffer, payload.buffer);
});

Deno.test("parser: fields, defaults, constants, comments", () => {
  const message = parseMessage(
    "p/msg/M",
    [
      "# a comment",
      "uint8 MODE=0x10 # with a comment",
      "int64 BIG = -9223372036854775808",
      'string NAME="quoted # not a comment"',
      "string PLAIN=several words",
      "float32 HALF=0.5",
      "bool YES=true",
      "",
      "float64 speed 1.5",
      'string<=10 label "it"',
      "int32[<=3] window [1, 2]",
      "string[] names ['a, b', \"c\"]",
      "Header header",
      "Other other",
      "q/Other[4] others",
      "q/msg/Other[] more  # trailing",
    ].join("\r\n"),
  );
  assert.deepEqual(message.constants.map(({ name, value }) => [name, value]), [
    ["MODE", 16],
    ["BIG", -9223372036854775808n],
    ["NAME", "quoted # not a comment"],
    ["PLAIN", "several words"],
    ["HALF", 0.5],
    ["YES", true],
  ]);
  assert.deepEqual(
    message.fields.map(({ name, type, default: given }) => [
      name,
      type.message ?? type.base,
      type.array?.kind,
      type.array?.size,
      type.stringBound,
      given,
    ]),
    [
      ["speed", "float64", undefined, undefined, 0, 1.5],
      ["label", "string", undefined, undefined, 10, "it"],
      ["window", "int32", "bounded", 3, 0, [1, 2]],
      ["names", "string", "unbounded", 0, 0, ["a, b", "c"]],
      ["header", "std_msgs/msg/Header", undefined, undefined, 0, undefined],
      ["other", "p/msg/Other", undefined, undefined, 0, undefined],
      ["others", "q/msg/Other", "fixed", 4, 0, undefined],
      ["more", "q/msg/Other", "unbounded", 0, 0, undefined],
    ],
  );
});

const NO_DEFINITION: [text: string, told: RegExp][] = [
  ["int32", /line 1: it is neither a field nor a constant/],
  ["int33[<=] x", /line 1: int33\[<=\] is no type/],
  ["int32<=4 x", /is no type/],
  ["\nint32 x 1.5", /line 2: 1\.5 is no int32/],
  ["uint8 X=256", /256 is no uint8/],
  ["int32[2] x [1]", /is no int32\[2\]/],
  ["int32 x\nint8 x", /line 2: there is another x/],
  ["int32 x__", /no name for a field/],
  ["int32[0] x", /is no type/],
];

for (const [text, told] of NO_DEFINITION) {
  Deno.test(`parser: refused: ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseMessage("p/msg/M", text), { code: "invalid", message: told });
  });
}

Deno.test("parser: services and actions are cut at their lines of ---", () => {
  const service = parseService("p/srv/S", "int8 a\n---  # answer\nint8 b\n");
  assert.equal(service.request.name, "p/srv/S_Request");
  assert.equal(service.response.fields[0].name, "b");
  assert.equal(parseService("p/srv/S", "---").request.fields.length, 1);
  assert.equal(parseAction("p/action/A", "---\n---\nint8 c").feedback.fields[0].name, "c");
  assert.throws(() => parseService("p/srv/S", "int8 a"), { code: "invalid", message: /needs 1/ });
  assert.throws(() => parseAction("p/action/A", "---"), { code: "invalid", message: /needs 2/ });
});

Deno.test("types: what is passed comes first, then folders, then the installed ROS, then the common ones", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const write = async (path: string, text: string) => {
      await Deno.mkdir(`${folder}/${path.replace(/\/[^/]*$/, "")}`, { recursive: true });
      await Deno.writeTextFile(`${folder}/${path}`, text);
    };
    await write("ws/my_msgs/msg/A.msg", "int8 from_folder");
    await write("ws/my_msgs/srv/S.srv", "int8 a\n---\nA b");
    await write("own/msg/B.msg", "int8 from_own");
    await write("ros/share/my_msgs/msg/A.msg", "int8 from_ament");
    await write("ros/share/std_msgs/msg/String.msg", "string other");
    await write("ros/share/ros_msgs/action/Dig.action", "int8 deep\n---\n---\n");
    const types = new Types({
      definitions: { "my_msgs/C": "int8 passed" },
      folders: [`${folder}/ws`, `${folder}/own`],
      amentPrefixPath: `${folder}/none:${folder}/ros`,
    });
    const field = (name: string) => types.message(name).definition.fields[0].name;
    assert.equal(field("my_msgs/msg/C"), "passed");
    assert.equal(field("my_msgs/A"), "from_folder");
    assert.equal(field("own/B"), "from_own");
    assert.equal(field("std_msgs/String"), "other");
    assert.equal(field("std_msgs/Bool"), "data");
    assert.equal(
      types.service("my_msgs/S").response.definition.fields[0].type.message,
      "my_msgs/msg/A",
    );
    const dig = types.action("ros_msgs/Dig");
    assert.deepEqual(
      dig.sendGoal.request.decode(dig.sendGoal.request.encode({ goal: { deep: 3 } })),
      {
        goal_id: { uuid: new Uint8Array(16) },
        goal: { deep: 3 },
      },
    );
    assert.equal(dig.feedbackMessage.ddsName, "ros_msgs::action::dds_::Dig_FeedbackMessage_");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("types: what is not known, and what holds itself, is told", () => {
  const types = new Types({ definitions: { "p/A": "B b", "p/B": "A[] a", "p/D": "Nobody x" } });
  assert.throws(
    () => types.message("std_msgs/Strin"),
    (error) =>
      error instanceof PatchbayError && error.code === "not_found" &&
      /std_msgs\/msg\/String/.test(error.remedy ?? ""),
  );
  assert.throws(() => types.message("p/A"), { code: "invalid", message: /holds itself/ });
  assert.throws(() => types.message("p/D"), { code: "not_found", message: /p\/msg\/Nobody/ });
  assert.throws(() => types.message("nonsense"), { code: "invalid" });
  assert.throws(() => types.message("std_srvs/srv/SetBool_Nothing"), PatchbayError);
});

Deno.test("types: the generated TypeScript is what the definitions say", async () => {
  const path = new URL("./common_types.ts", import.meta.url);
  const folder = await Deno.makeTempDir();
  try {
    const fresh = `${folder}/common_types.ts`;
    await Deno.writeTextFile(fresh, typescriptOf(walking, [...commonInterfaces().keys()]));
    const config = new URL("../../../deno.json", import.meta.url).pathname;
    const args = ["fmt", "--quiet", "--config", config, fresh];
    const { success } = await new Deno.Command(Deno.execPath(), { args }).output();
    assert.ok(success);
    const [now, then] = [await Deno.readTextFile(fresh), await Deno.readTextFile(path)];
    assert.ok(now === then, "run deno task types > types/common_types.ts in plugins/ros2");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
