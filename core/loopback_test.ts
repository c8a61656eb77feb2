import assert from "node:assert/strict";
import { isLoopback } from "./loopback.ts";

Deno.test("loopback: this host is called so, and nothing else is", () => {
  const ours = [
    "localhost",
    "LocalHost",
    "127.0.0.1",
    "127.0.0.0",
    "127.1.2.3",
    "127.255.255.255",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "[0:0:0:0:0:0:0:1]",
    "::ffff:127.0.0.1",
    "::FFFF:127.9.8.7",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
  ];
  const others = [
    "",
    "127",
    "127.1",
    "127.0.0",
    "127.0.0.256",
    "127.0.0.1.",
    "127.0.0.1.1",
    "1127.0.0.1",
    "127.0.0.1:80",
    "127.evil.com",
    "127.0.0.1.evil.com",
    "127.0.0.evil",
    "[127.0.0.1]",
    "localhost.evil.com",
    "localhost.",
    "evil.localhost.com",
    "[localhost]",
    "0.0.0.0",
    "::",
    "[::]",
    "::2",
    "::1%eth0",
    "[::1",
    "::1]",
    "[[::1]]",
    "[::1]:80",
    "::ffff:128.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "fe80::1",
    "::1/evil",
    "::1@evil.com",
    "128.0.0.1",
    "10.0.0.1",
    "example.com",
    "127.0.0.1\n",
    "127.0.0.1 ",
    "x\n127.0.0.1",
  ];
  for (const name of ours) assert.ok(isLoopback(name), name);
  for (const name of others) assert.ok(!isLoopback(name), JSON.stringify(name));
});

Deno.test("loopback: what a URL makes of this host's names is this host", () => {
  for (
    const host of ["localhost", "127.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"]
  ) {
    assert.ok(isLoopback(new URL(`http://${host}:80/`).hostname), host);
  }
});
