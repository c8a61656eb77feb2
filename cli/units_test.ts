import assert from "node:assert/strict";
import { paint } from "./paint.ts";
import { table, wrap } from "./table.ts";
import { formatAge, formatBytes, formatCount, formatDuration, formatRate } from "./units.ts";
import { jsonLine, readValue, showValue } from "./values.ts";
import { spread, Window } from "./window.ts";

Deno.test("units: as people read them", () => {
  assert.deepEqual([0, 999, 1000, 1234567].map(formatCount), ["0", "999", "1 000", "1 234 567"]);
  assert.deepEqual([0, 512, 1536, 1024 ** 3, Infinity].map(formatBytes), [
    "0 B",
    "512 B",
    "1.5 KiB",
    "1 GiB",
    "no limit",
  ]);
  assert.deepEqual([0.0002, 0.0852, 1.2, 3000, 12345, NaN].map(formatDuration), [
    "200 ns",
    "85.2 µs",
    "1.2 ms",
    "3 s",
    "12.3 s",
    "–",
  ]);
  assert.deepEqual([500, 42_000, 192_000, 18_120_000, 273_600_000].map(formatAge), [
    "0 s",
    "42 s",
    "3 min 12 s",
    "5 h 2 min",
    "3 d 4 h",
  ]);
  assert.deepEqual([99.84, 1200, 105_000, 15e6].map(formatRate), [
    "99.8 Hz",
    "1200 Hz",
    "105 kHz",
    "15 MHz",
  ]);
});

Deno.test("table: aligned, coloured cells too, the last column wrapped", () => {
  const colours = paint(true);
  const rows = [[colours.red("a"), "1", "first"], ["bcd", "22", "a text that is far too long"]];
  assert.deepEqual(table(rows, { columns: 26, right: [1], indent: " " }), [
    ` ${colours.red("a")}     1  first`,
    " bcd  22  a text that is far too",
    "          long",
  ]);
  assert.deepEqual(table([], { columns: 80 }), []);
  assert.deepEqual(table([["a", "10"], ["b", "7"]], { columns: 80, right: [1] }), [
    "a  10",
    "b   7",
  ]);
  assert.deepEqual(wrap("longerthanthat x", 5), ["longerthanthat", "x"]);
});

Deno.test("values: bytes and bigints go both ways; what JSON has stays as it is", () => {
  const text = '{"b":{"$bytes":"AAEC/w=="},"n":{"$bigint":"-12345678901234567890"},"$bytes":1}';
  const value = readValue(text, "request") as { b: Uint8Array; n: bigint };
  assert.deepEqual([...value.b], [0, 1, 2, 255]);
  assert.equal(value.n, -12345678901234567890n);
  assert.equal(jsonLine(value), text);
  assert.equal(jsonLine(undefined), "null");
  assert.throws(() => readValue('{"$bytes":"*"}', "request"), /base64/);
});

Deno.test("values: what is not JSON is answered with what was probably meant", () => {
  const meant: [text: string, remedy: string][] = [
    ["Ada", `'"Ada"'`],
    ["it's", `'"it'\\''s"'`],
    ["{a:1}", `'{"a":1}'`],
    ["{'a': 'b'}", `'{"a":"b"}'`],
    ["{a: 'b', c_d: [1,2]}", `'{"a":"b","c_d":[1,2]}'`],
    ["[1,2,]", "'[1,2]'"],
    ["{a", "correct it, or pass it on standard input with -"],
  ];
  for (const [text, remedy] of meant) {
    assert.throws(() => readValue(text, "goal"), { remedy });
  }
});

Deno.test("values: shown on one line if there is room, in colours if wanted", () => {
  const value = { a: [1, "x:, y"], b: null };
  assert.equal(showValue(value, paint(false), 80), '{"a": [1, "x:, y"], "b": null}');
  assert.equal(showValue(value, paint(false), 10), JSON.stringify(value, null, 2));
  assert.equal(showValue("plain", paint(false), 80), '"plain"');
  const colours = paint(true);
  assert.equal(
    showValue({ k: "v", n: -1.5e3 }, colours, 80),
    `{${colours.cyan('"k"')}: ${colours.green('"v"')}, ${colours.cyan('"n"')}: ${
      colours.magenta("-1500")
    }}`,
  );
});

Deno.test("window: rate, spread and bytes of the last messages", () => {
  const window = new Window(3);
  assert.deepEqual([window.rateHz, window.periods, window.sizes], [
    undefined,
    undefined,
    undefined,
  ]);
  window.add(0, 1000);
  assert.equal(window.rateHz, undefined);
  for (const [atMs, bytes] of [[1000, 7], [1010, 10], [1030, 20]]) window.add(atMs, bytes);
  assert.deepEqual([window.messages, window.size], [4, 3]);
  assert.equal(Math.round(window.rateHz ?? 0), 67);
  assert.deepEqual(window.periods, { mean: 15, min: 10, max: 20, stdDev: 5 });
  assert.equal(window.bytesPerSecond, 1000);
  assert.equal(window.sizes?.max, 20);
  for (let i = 0; i < 1000; i++) window.add(2000 + i, 1);
  assert.deepEqual([window.messages, window.size, window.rateHz], [1004, 3, 1000]);
  assert.equal(spread([]), undefined);
});
