/**
 * Tests of the reading and writing of test summaries.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readTally, tallyLine } from "./run_tests.ts";

Deno.test("run_tests: the summary is read with and without steps, ignored tests and colours", () => {
  const cases: [output: string, code: number, line: string][] = [
    ["ok | 3 passed | 0 failed (152ms)", 0, "3 passed, 0 failed"],
    [
      "x\n\nok | 3 passed (7 steps) | 0 failed | 2 ignored (1 step) (1s)\n",
      0,
      "3 passed, 0 failed, 2 skipped",
    ],
    [
      "FAILED | 1 passed (1 step) | 1 failed (1 step) | 1 ignored (1 step) (9ms)",
      1,
      "1 passed, 1 failed, 1 skipped",
    ],
    [
      "\x1b[0m\x1b[32mok\x1b[0m | 12 passed | 0 failed \x1b[38;5;245m(5ms)\x1b[0m",
      0,
      "12 passed, 0 failed",
    ],
    ["ok | 3 passed | 0 failed | 0 measured | 4 filtered out (5ms)", 0, "3 passed, 0 failed"],
    [
      "ok | 9 passed | 0 failed (1ms)\r\nok | 3 passed | 0 failed (2ms)\r\n",
      0,
      "3 passed, 0 failed",
    ],
  ];
  for (const [output, code, line] of cases) {
    assert.equal(tallyLine(readTally(output, code)), line, output);
  }
});

Deno.test("run_tests: a run that broke off is a failure", () => {
  assert.equal(tallyLine(readTally("", 1)), "0 passed, 1 failed");
  assert.equal(tallyLine(readTally("", 0)), "0 passed, 1 failed");
  assert.equal(tallyLine(readTally("error: Type checking failed.", 1)), "0 passed, 1 failed");
  assert.equal(tallyLine(readTally("ok | 3 passed | 0 failed (1ms)", 137)), "3 passed, 1 failed");
});
