/**
 * Opens the runtime directory and says what became of it.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import { openRuntimeDir } from "@patchbay/host";

try {
  console.log(`opened|${openRuntimeDir()}`);
} catch (error) {
  console.log(
    error instanceof PatchbayError ? `${error.code}|${error.remedy}` : `uncaught|${error}`,
  );
}
