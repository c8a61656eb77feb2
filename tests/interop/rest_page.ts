/**
 * A page's program: a bay over rest, put into the global scope for `tests/rest_page_test.ts`.
 *
 * @module
 */

import { open } from "@patchbay/core";
import rest from "@patchbay/rest/browser";

/** Opens a bay that reaches the bay at a URL. */
export async function openPageBay(url: string): Promise<unknown> {
  return await open({ module: "page", plugins: [rest], config: { rest: { peers: [url] } } });
}

(globalThis as unknown as { openPageBay: typeof openPageBay }).openPageBay = openPageBay;
