/**
 * Bays that meet over ros2 in tests, on loopback, with nobody else.
 *
 * @module
 */

import { open, type OpenOptions, type PatchbayError } from "@patchbay/core";
import { OwnDomain } from "../fixture.ts";
import ros2, { type Ros2Config } from "../mod.ts";
import { Waiter } from "../rtps/testdata/place.ts";

/** Bays that meet in a domain of their own. */
export class Room extends Waiter implements AsyncDisposable {
  readonly #open: AsyncDisposable[] = [];
  readonly #domain = new OwnDomain();
  /** What any of them has reported. */
  readonly reports: PatchbayError[] = [];
  /** The domain. */
  readonly domain: number = this.#domain.number;

  /** Opens one. */
  async bay(
    module: string,
    config: Partial<Ros2Config> = {},
    more: Partial<OpenOptions> = {},
  ) {
    const bay = await open({
      ...more,
      module,
      plugins: [ros2],
      config: { ros2: { domain: this.domain, range: "localhost", ...config } },
      onReport: (error) => {
        this.reports.push(error);
        this.touch();
      },
    });
    this.#open.push(bay);
    return bay;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bay of this.#open) await bay[Symbol.asyncDispose]();
    this.#domain[Symbol.dispose]();
  }
}
