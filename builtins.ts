/**
 * The plugins that come with Patchbay. Only those without npm dependencies of their own: a literal
 * import of an npm package is downloaded at start, used or not.
 *
 * @module
 */

import inProcess from "@patchbay/in_process";
import uds from "@patchbay/uds";

/** The built-in plugins, as a tuple, so that `via` knows their names. */
export const builtins: readonly [typeof inProcess, typeof uds] = [inProcess, uds];
