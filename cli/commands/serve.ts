/**
 * `patchbay serve`: answers calls until it is told to stop; every call is printed.
 *
 * @module
 */

import type { CommonOptions, Context } from "../context.ts";
import { EXIT, UsageError } from "../complaint.ts";
import { until } from "../until.ts";
import { readValue } from "../values.ts";

/** The options of `serve`. */
export interface ServeCommandOptions extends CommonOptions {
  /** Answer with the request. */
  readonly echo?: boolean;
  /** Answer with this JSON. */
  readonly reply?: string;
}

/**
 * Serves an address.
 *
 * @param context The surroundings.
 * @param address What to serve.
 * @param options How to answer, and what every command has.
 */
export async function serve(
  context: Context,
  address: string,
  options: ServeCommandOptions,
): Promise<number> {
  if ((options.echo === true) === (options.reply !== undefined)) {
    throw new UsageError("say how to answer", { remedy: "either --echo or --reply '<json>'" });
  }
  const reply = options.reply === undefined ? undefined : readValue(options.reply, "reply");
  const { screen } = context;
  const stop = context.interrupted;
  await using bay = await context.openBay();
  await using _ = await bay.serve(address, (request, { peer, headers }) => {
    const from = `${peer.module} over ${peer.transport}`;
    if (screen.json) {
      screen.value({ event: "call", address, peer, headers, request });
    } else screen.line(`${screen.paint.dim(from)}  ${screen.show(request, from.length + 2)}`);
    return options.echo === true ? request : reply;
  }, { via: options.via });
  if (screen.json) screen.value({ event: "serving", address, instance: bay.identity.instance });
  screen.note(`serving ${address} as ${bay.identity.instance}; Ctrl-C ends it`);
  await until(stop, { timeoutMs: options.timeout });
  return EXIT.ok;
}
