import assert from "node:assert/strict";
import { readServerUrl } from "./server_access.ts";

Deno.test("server URLs: parts as they are meant; what is none is none", () => {
  const full = readServerUrl("mqtts://us%40er:p%25w@[::1]:8884/mqtt?x=1");
  assert.deepEqual(full, {
    scheme: "mqtts",
    host: "::1",
    port: 8884,
    username: "us@er",
    password: "p%w",
    path: "/mqtt?x=1",
  });
  const bare = readServerUrl("redis://there/");
  assert.deepEqual(Object.values(bare ?? {}).filter((each) => each !== undefined), [
    "redis",
    "there",
  ]);
  for (const text of ["", "there:1883", "mqtt://me:50%@there", "mqtt://%zz@there"]) {
    assert.ok((readServerUrl(text)?.host) === undefined, text);
  }
});
