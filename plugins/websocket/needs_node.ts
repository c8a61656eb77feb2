/**
 * What is said where something needs `npm:ws`, and it is not there.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";

/** What to do. */
export const NODE_REMEDY = 'import websocket from "@patchbay/websocket/node"';

/**
 * The error for something that needs `npm:ws`.
 *
 * @param what What it is.
 */
export function needsNode(what: string): PatchbayError {
  return new PatchbayError("unavailable", `${what} needs npm:ws, which this plugin has not`, {
    remedy: NODE_REMEDY,
  });
}
