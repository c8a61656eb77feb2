/**
 * Deno's permissions: whether one is granted, what a refusal means, and the exact flags of a bay.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";
import type { BayIdentity, Plugin } from "@patchbay/core";
import { socketPath } from "./socket_path.ts";

/** The environment variables that choose the runtime directory and the configuration file. */
export const ENVIRONMENT: readonly string[] = [
  "PATCHBAY_CONFIG",
  "TEMP",
  "TMP",
  "TMPDIR",
  "XDG_RUNTIME_DIR",
];

/**
 * Whether a permission is granted already. Never prompts: a library that starts up must not stop a
 * program in front of a question.
 *
 * @param descriptor The permission.
 */
export function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/**
 * An environment variable; `undefined` if it is not set, is empty, or may not be read.
 *
 * @param name The variable.
 */
export function readEnvironment(name: string): string | undefined {
  if (!isGranted({ name: "env", variable: name })) return undefined;
  return Deno.env.get(name) || undefined;
}

/**
 * Translates Deno's `NotCapable` into `unavailable` with the flags that are missing; anything else
 * is passed through as it is.
 *
 * @param error What was thrown.
 * @param what What could not be done, as in "the socket /run/x.sock cannot be opened".
 * @param flags The flags that would have allowed it.
 *
 * @example
 * ```ts
 * import { fromNotCapable } from "@patchbay/host";
 *
 * const refused = new Deno.errors.NotCapable("Requires read access");
 * const error = fromNotCapable(refused, "/data cannot be read", ["--allow-read=/data"]);
 * console.log(error); // unavailable, remedy: run deno with --allow-read=/data
 * ```
 */
export function fromNotCapable(error: unknown, what: string, flags: readonly string[]): unknown {
  if (!(error instanceof Deno.errors.NotCapable)) return error;
  return new PatchbayError("unavailable", `${what}: Deno was started without the permission`, {
    retryable: false,
    remedy: `run deno with ${flags.join(" ")}`,
    details: { flags: [...flags] },
    cause: error,
  });
}

/**
 * Merges permission flags: `--allow-read=/a` and `--allow-read=/b` become `--allow-read=/a,/b`; a
 * flag without a list stands for everything. Sorted, each once.
 *
 * @param flags The flags.
 *
 * @example
 * ```ts
 * import { mergeFlags } from "@patchbay/host";
 *
 * const flags = mergeFlags(["--allow-read=/b", "--allow-read=/a", "--allow-sys=uid"]);
 * if (flags.join(" ") !== "--allow-read=/a,/b --allow-sys=uid") throw new Error("unexpected");
 * ```
 */
export function mergeFlags(flags: Iterable<string>): string[] {
  const lists = new Map<string, Set<string> | "everything">();
  for (const flag of flags) {
    const at = flag.indexOf("=");
    const name = at < 0 ? flag : flag.slice(0, at);
    if (at < 0) lists.set(name, "everything");
    const list = lists.get(name) ?? new Set<string>();
    lists.set(name, list);
    if (list !== "everything") {
      for (const item of flag.slice(at + 1).split(",")) list.add(item);
    }
  }
  return [...lists.entries()].sort(([a], [b]) => a < b ? -1 : 1).map(([name, list]) =>
    list === "everything" ? name : `${name}=${[...list].sort().join(",")}`
  );
}

/** What {@link bayPermissions} needs to know. */
export interface BayPermissionsOptions {
  /** The module's name. */
  module: string;
  /** The instance, if it is not the only one. Default: the module's name. */
  instance?: string;
  /** The runtime directory. */
  runtimeDir: string;
  /** The instances this one dials: each Unix socket must be granted by its exact path. */
  peers?: readonly string[];
  /** The plugins it opens; their own flags are added. */
  plugins?: readonly Plugin[];
  /** The checked configuration of each plugin, by name. */
  config?: Readonly<Record<string, unknown>>;
  /** The plugin directories that are scanned, and files such as the configuration. */
  reads?: readonly string[];
}

/**
 * The exact Deno permission flags a bay needs, merged and sorted.
 *
 * Deno grants a Unix socket by its exact path only (since 2.8), which is why socket names derive
 * from the module's name and a bay must name its {@link BayPermissionsOptions.peers}.
 *
 * @param options The bay.
 *
 * @example
 * ```ts
 * import { bayPermissions } from "@patchbay/host";
 *
 * const flags = bayPermissions({ module: "arm", runtimeDir: "/run/user/1000/patchbay" });
 * console.log(["deno run", ...flags, "arm.ts"].join(" "));
 * ```
 */
export function bayPermissions(options: BayPermissionsOptions): string[] {
  const { module, runtimeDir } = options;
  const instance = options.instance ?? module;
  const identity: BayIdentity = { id: "0".repeat(16), module, instance };
  const flags = [
    `--allow-read=${[runtimeDir, ...options.reads ?? []].join(",")}`,
    `--allow-write=${runtimeDir}`,
    `--allow-net=${
      [instance, ...options.peers ?? []].map((name) => `unix:${socketPath(runtimeDir, name)}`)
        .join(",")
    }`,
    `--allow-env=${ENVIRONMENT.join(",")}`,
    "--allow-sys=uid",
  ];
  const place = { runtimeDir, peers: options.peers ?? [] };
  for (const plugin of options.plugins ?? []) {
    flags.push(...plugin.permissions?.(options.config?.[plugin.name], identity, place) ?? []);
  }
  return mergeFlags(flags);
}
