/**
 * Reports what does not fit on the graph: endpoints of different policies, nodes of one name.
 *
 * @module
 */

import { PatchbayError, type Pattern, type TransportContext } from "@patchbay/core";
import type { EndpointData, Mismatch } from "./rtps/mod.ts";

/** How many pairs that do not fit are remembered. */
const MAX_PAIRS = 4096;

/** What was reported of one node's surroundings. */
export class Misfits {
  readonly #context: TransportContext;
  readonly #report: (error: PatchbayError) => void;
  readonly #duplicates = new Set<string>();
  readonly #mismatches = new Set<string>();

  /**
   * @param context What core gave the plugin.
   * @param report Takes the reports.
   */
  constructor(context: TransportContext, report: (error: PatchbayError) => void) {
    this.#context = context;
    this.#report = report;
  }

  /** Reports names that more than one node has, once each while it lasts. */
  lookForDuplicates(names: Iterable<string>): void {
    const now = new Set(names);
    for (const name of this.#duplicates) if (!now.has(name)) this.#duplicates.delete(name);
    for (const name of now) {
      if (this.#duplicates.has(name)) continue;
      this.#duplicates.add(name);
      this.#report(
        new PatchbayError("invalid", `more than one node is called ${name}`, {
          details: { node: name },
          remedy: "give each a name or namespace of its own: ROS 2's tools see only one of them",
        }),
      );
    }
  }

  /**
   * Reports by which policies two endpoints fail to meet, once for each pair.
   *
   * @param address What it is about.
   * @param pattern The pattern.
   * @param own This side's endpoint: a speaker's or a listener's.
   * @param other The other side's.
   * @param module Whose that is.
   * @param policies The policies.
   */
  mismatched(
    address: string,
    pattern: Pattern,
    own: "writer" | "reader",
    other: EndpointData,
    module: string,
    policies: readonly Mismatch[],
  ): void {
    const names = policies.map((each) => each.policy);
    const key = `${address} ${own} ${other.guid} ${names}`;
    if (this.#mismatches.has(key) || this.#mismatches.size >= MAX_PAIRS) return;
    this.#mismatches.add(key);
    const lines = policies.map(({ policy, offered, requested }) =>
      `${policy} (offered ${offered}, requested ${requested})`
    );
    this.#context.statistics.countError("unavailable");
    const verb = own === "reader"
      ? "writes there, but is not heard"
      : "reads there, but does not hear";
    this.#report(
      new PatchbayError("unavailable", `${address}: ${module} ${verb}: ${lines.join(", ")}`, {
        pattern,
        address,
        details: { policies: names, mismatches: policies, peer: module },
        remedy: names.includes("type")
          ? "use the same ROS type on both sides"
          : `state ${
            names.join(", ")
          } in native: { ros2: { qos: { … } } } as the other side has it`,
      }),
    );
  }
}
