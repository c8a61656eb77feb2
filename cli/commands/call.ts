/**
 * `patchbay call`: one call, its response printed.
 *
 * @module
 */

import type { CommonOptions, Context } from "../context.ts";
import { EXIT } from "../complaint.ts";
import { nearMiss } from "../near_miss.ts";

/** The options of `call`. */
export interface CallCommandOptions extends CommonOptions {
  /** Sent along. */
  readonly header?: Readonly<Record<string, string>>;
}

/**
 * Calls an address and prints the response.
 *
 * @param context The surroundings.
 * @param address Whom to call.
 * @param json The request; `-` is standard input.
 * @param options Headers and what every command has.
 */
export async function call(
  context: Context,
  address: string,
  json: string | undefined,
  options: CallCommandOptions,
): Promise<number> {
  const request = await context.readValue(json, "request");
  await using bay = await context.openBay();
  const { via, timeout: timeoutMs, header: headers } = options;
  const signal = context.interrupted;
  const response = await bay.call(address, request, { via, timeoutMs, headers, signal })
    .catch((error) => {
      throw nearMiss(bay, "callable", address, error);
    });
  context.screen.value(response);
  return EXIT.ok;
}
