/**
 * What the tests of rest share: a bay that listens, and what its answers must be.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Bay, open, type PatchbayError } from "@patchbay/core";
import rest, { type RestConfig } from "../mod.ts";

/** The listeners. */
export const LISTENERS: readonly ("quick" | "guarded")[] = ["quick", "guarded"];

/** A bay that listens on a free port of the loopback interface. */
export async function bayWith(
  config: Partial<RestConfig> = {},
  reports: PatchbayError[] = [],
): Promise<Bay<readonly [typeof rest]> & { url: string }> {
  const bay = await open({
    module: "server",
    plugins: [rest],
    config: { rest: { listen: { port: 0 }, eventPingMs: 200, ...config } },
    onReport: (error) => reports.push(error),
  });
  const [wire] = bay.wires();
  assert.equal(wire.open, true, `${wire.reason}; ${wire.remedy}`);
  return Object.assign(bay, { url: bay.transport(rest).url });
}

/** Expects a problem document, and gives it back. */
export async function problem(response: Response, status: number, code: string): Promise<
  Record<string, unknown>
> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  const told = JSON.parse(text);
  assert.equal(told.code, code);
  assert.equal(told.status, status);
  assert.equal(told.type, "about:blank");
  return told;
}

/** A POST of JSON. */
export const post = (value: unknown): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

/** The counters of rest. */
export function counted(
  bay: Bay,
): { errors: Record<string, number>; drops: Record<string, number> } {
  const [transport] = bay.statistics.snapshot(Date.now()).transports;
  return transport as { errors: Record<string, number>; drops: Record<string, number> };
}
