/**
 * Holds how much a page loads that talks over websocket.
 *
 * @module
 */
import assert from "node:assert/strict";
import { bundlePage } from "../tools/page_bundle.ts";

/** What a page may load, in bytes, compressed by gzip. */
const LIMIT = 40 * 1024;

const PAGE = `
import { open } from "@patchbay/core";
import websocket from "@patchbay/websocket/browser";
Object.assign(globalThis, { open, websocket });
`;

Deno.test("page: core and websocket are at most 40 KiB", async () => {
  const bundle = await bundlePage(PAGE);
  const [main] = bundle.files;
  // The codec comes with the first connection; jobs, compression and tracing when they are used.
  const loaded = bundle.loaded([main.name, "codec_msgpack"]);
  const bytes = loaded.reduce((sum, { gzipBytes }) => sum + gzipBytes, 0);
  const table = bundle.files.map((file) =>
    `${file.gzipBytes} ${file.name}${loaded.includes(file) ? "" : " (when it is used)"}`
  );
  assert.ok(loaded.length > 1 && bytes > 10_000, `the bundle is empty:\n${table.join("\n")}`);
  assert.ok(bytes <= LIMIT, `a page loads ${bytes} bytes:\n${table.join("\n")}`);
  for (const lazy of ["job", "compression_deflate", "tracing"]) {
    const file = bundle.files.find(({ name }) => name.startsWith(`${lazy}-`));
    assert.ok(file !== undefined && !loaded.includes(file), `${lazy} is loaded at once`);
  }
  assert.ok(!bundle.files.some(({ name }) => name.startsWith("hub_server")), "a page is no hub");
});
