/**
 * Holds how much a page loads that talks over websocket.
 *
 * @module
 */
import assert from "node:assert/strict";
import { bundlePage } from "../tools/page_bundle.ts";

/** What a page may load at the start, in bytes, compressed by gzip. */
const LIMIT = 40 * 1024;

const PAGE = `
import { open } from "@patchbay/core";
import websocket from "@patchbay/websocket/browser";
Object.assign(globalThis, { open, websocket });
`;

/** What comes when it is used: the codec with the first connection, listening with a listener. */
const LATER = [
  "callable_endpoint",
  "codec_msgpack",
  "compression_deflate",
  "job",
  "job_endpoint",
  "listener",
  "speaker",
  "tracing",
];

Deno.test("page: core and websocket are one bundle of at most 40 KiB", async () => {
  const bundle = await bundlePage(PAGE);
  const loaded = bundle.loaded([bundle.files[0].name]);
  const bytes = loaded.reduce((sum, { gzipBytes }) => sum + gzipBytes, 0);
  const table = bundle.files.map((file) =>
    `${file.gzipBytes} ${file.name}${loaded.includes(file) ? "" : " (when it is used)"}`
  );
  assert.ok(bytes > 10_000, `the bundle is empty:\n${table.join("\n")}`);
  assert.ok(bytes <= LIMIT, `a page loads ${bytes} bytes:\n${table.join("\n")}`);
  for (const name of LATER) {
    const file = bundle.files.find((each) => each.name.startsWith(`${name}-`));
    assert.ok(file !== undefined && !loaded.includes(file), `${name} is loaded at once`);
  }
  assert.ok(!bundle.files.some(({ name }) => name.startsWith("hub_server")), "a page is no hub");
});
