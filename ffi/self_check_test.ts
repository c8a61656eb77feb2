/** @module */
import assert from "node:assert/strict";
import { requireOrIgnore } from "../tests/require.ts";
import { libcAvailability, openLibc } from "./mod.ts";
import { strangeness } from "./self_check.ts";
import { type Calls, openCalls, type System } from "./system.ts";

const here = await requireOrIgnore("libc", libcAvailability, "pass --allow-ffi");

/** The library of this machine, with something changed. */
function judged(change: (calls: Calls) => Calls): string | undefined {
  const opened = openCalls();
  try {
    return strangeness(change(opened.calls));
  } finally {
    opened.close();
  }
}

const withSystem = (change: Partial<System>) => (calls: Calls): Calls => ({
  ...calls,
  system: { ...calls.system, ...change },
});

Deno.test({
  name: here.name("self check: this machine is as it was written down"),
  ignore: here.ignore,
  fn: () => assert.equal(judged((calls) => calls), undefined),
});

Deno.test({
  name: here.name("self check: structures and numbers of another system are noticed"),
  ignore: here.ignore,
  fn: () => {
    const { stat } = (() => {
      const opened = openCalls();
      opened.close();
      return opened.calls.system;
    })();
    for (const mode of [0, 4, 16, 32]) {
      assert.match(judged(withSystem({ stat: { ...stat, mode } })) ?? "", /^struct stat of "\/"/);
    }
    const links = { ...stat, links: 40, linksBytes: 2 as const }; // inside st_rdev, which is 0
    assert.match(judged(withSystem({ stat: links })) ?? "", / 0 links/);
    assert.match(judged(withSystem({ direntName: 21 })) ?? "", /^struct dirent/);
    assert.match(judged((calls) => ({ ...calls, errno: () => 1 })) ?? "", /errno 1, not -1 and 9/);
    const posix = (calls: Calls) => ({ ...calls.posix, getpid: () => 1 });
    assert.match(judged((calls) => ({ ...calls, posix: posix(calls) })) ?? "", /^getpid says 1/);
  },
});

Deno.test({
  name: here.name("self check: a library that is not as it was written down is unavailable"),
  ignore: here.ignore,
  fn: () => {
    const { dlopen } = Deno;
    try {
      Deno.dlopen = ((...given: Parameters<typeof dlopen>) => {
        const library = dlopen(...given);
        return {
          symbols: { ...library.symbols, getpid: () => 1 },
          close: () => library.close(),
        };
      }) as typeof dlopen;
      const told = libcAvailability();
      assert.equal(told.available, false);
      assert.match(told.available ? "" : told.reason, /not as expected: getpid says 1/);
      assert.match(told.available ? "" : told.remedy, /uds.* report this message/);
      assert.throws(openLibc, { code: "unavailable", retryable: false });
    } finally {
      Deno.dlopen = dlopen;
    }
    assert.equal(libcAvailability().available, true);
  },
});
