/**
 * The far side of a conformance case in a worker: orders and answers go over the worker's own port,
 * beside what Patchbay says there.
 *
 * @module
 */

import { type Json, obeyLines } from "@patchbay/core/conformance";
import fixture from "../fixture.ts";

const orders = new TransformStream<string, string>();
const writer = orders.writable.getWriter();

self.addEventListener("message", (event) => {
  const { data } = event as Event as MessageEvent<Record<string, unknown>>;
  if (typeof data.line === "string") void writer.write(data.line);
  if (data.end === true) void writer.close();
});

const post = (message: unknown) => (self as unknown as Worker).postMessage(message);
const meeting = await fixture.join?.(JSON.parse(self.name) as Json);
if (meeting === undefined) throw new Error("the fixture has no join()");
// Awaiting the end here would keep messages from being delivered.
obeyLines(meeting, orders.readable, (line) => post({ line })).then(() => {
  post({ code: 0 });
  self.close();
});
