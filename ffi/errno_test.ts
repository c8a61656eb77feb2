/**
 * Tests of error numbers: their names and their meaning.
 *
 * @module
 */
import { ERROR_CODES, PatchbayError } from "@patchbay/core/errors";
import assert from "node:assert/strict";
import os from "node:os";
import { errnoError, errnoName, errnoNumber, type ErrnoOs } from "./errno.ts";

const SYSTEMS: readonly ErrnoOs[] = ["linux", "darwin"];

Deno.test("errno: numbers of POSIX have the same name everywhere up to EDOM", () => {
  for (let errno = 1; errno <= 33; errno++) {
    // EAGAIN and EDEADLK changed places between the two families.
    if (errno !== 11) assert.equal(errnoName(errno, "linux"), errnoName(errno, "darwin"));
  }
});

Deno.test("errno: landmarks of both tables", () => {
  const landmarks: [ErrnoOs, number, string][] = [
    ["linux", 11, "EAGAIN"],
    ["linux", 35, "EDEADLK"],
    ["linux", 40, "ELOOP"],
    ["linux", 42, "ENOMSG"],
    ["linux", 59, "EBFONT"],
    ["linux", 95, "EOPNOTSUPP"],
    ["linux", 98, "EADDRINUSE"],
    ["linux", 110, "ETIMEDOUT"],
    ["linux", 122, "EDQUOT"],
    ["linux", 130, "EOWNERDEAD"],
    ["linux", 133, "EHWPOISON"],
    ["darwin", 11, "EDEADLK"],
    ["darwin", 35, "EAGAIN"],
    ["darwin", 45, "ENOTSUP"],
    ["darwin", 48, "EADDRINUSE"],
    ["darwin", 60, "ETIMEDOUT"],
    ["darwin", 63, "ENAMETOOLONG"],
    ["darwin", 78, "ENOSYS"],
    ["darwin", 89, "ECANCELED"],
    ["darwin", 102, "EOPNOTSUPP"],
    ["darwin", 105, "EOWNERDEAD"],
    ["darwin", 106, "EQFULL"],
  ];
  for (const [system, errno, name] of landmarks) {
    assert.equal(errnoName(errno, system), name);
    assert.equal(errnoNumber(name, system), errno);
  }
});

Deno.test("errno: names agree with those that the runtime knows for this machine", () => {
  for (const [name, errno] of Object.entries(os.constants.errno)) {
    assert.equal(errnoNumber(name), errno, name);
  }
});

Deno.test("errno: numbers without a name are told as numbers", () => {
  for (const system of SYSTEMS) {
    for (const errno of [0, -1, 4242, 1.5, NaN]) {
      assert.equal(errnoName(errno, system), `errno ${errno}`);
    }
  }
  assert.equal(errnoName(41, "linux"), "errno 41");
  assert.equal(errnoNumber("ENOTHING"), undefined);
  assert.equal(errnoNumber("-", "linux"), undefined);
});

Deno.test("errno: every name means the code that its table promises, on both systems", () => {
  const promised: Record<string, string[]> = {
    forbidden: ["EACCES", "EPERM", "EROFS"],
    not_found: ["ENOENT", "ESRCH", "ENXIO", "ENODEV", "ENOTDIR"],
    unavailable: ["ENOSPC", "EDQUOT", "ENOMEM", "ENOBUFS", "EMFILE", "ENFILE", "ECONNREFUSED"]
      .concat(["EEXIST", "EADDRINUSE", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]),
    closed: ["ECONNRESET", "ECONNABORTED", "EPIPE", "ENOTCONN", "ESHUTDOWN", "EOWNERDEAD"],
    overloaded: ["EAGAIN", "EWOULDBLOCK", "EBUSY", "EINTR"],
    deadline_exceeded: ["ETIMEDOUT"],
    too_large: ["EMSGSIZE", "EFBIG", "EOVERFLOW"],
    invalid: ["EINVAL", "ENAMETOOLONG", "EISDIR", "ELOOP"],
    internal: ["EBADF", "EFAULT", "EIO"],
  };
  for (const [code, names] of Object.entries(promised)) {
    assert.ok((ERROR_CODES as readonly string[]).includes(code));
    for (const name of names) {
      for (const system of SYSTEMS) {
        const error = errnoError("f", errnoNumber(name, system)!, "x", system);
        assert.equal(error.code, code, `${name} on ${system}`);
      }
    }
  }
});

Deno.test("errno: what is unavailable has a remedy; what will not change is not retryable", () => {
  for (const system of SYSTEMS) {
    for (let errno = 1; errno <= 133; errno++) {
      const error = errnoError("f", errno, "x", system);
      if (error.code === "unavailable" || error.code === "forbidden") {
        assert.ok(error.remedy, `${error.message} has no remedy`);
      }
    }
    const retryable = (name: string) =>
      errnoError("f", errnoNumber(name, system)!, "x", system).retryable;
    assert.deepEqual(["ENOSPC", "EAGAIN", "EEXIST", "ENOSYS", "EACCES"].map(retryable), [
      true,
      true,
      false,
      false,
      false,
    ]);
  }
});

Deno.test("errno: an error names symbol, object, reason and number", () => {
  const error = errnoError("shm_open", 28, "segment /camera", "linux");
  assert.ok(error instanceof PatchbayError);
  assert.equal(error.message, "shm_open of segment /camera failed: no space left (ENOSPC)");
  assert.deepEqual(error.details, { errno: 28, name: "ENOSPC", symbol: "shm_open" });
  assert.match(error.remedy ?? "", /df -h/);
  assert.equal(errnoError("f", 41, "x", "linux").message, "f of x failed: errno 41");
});
