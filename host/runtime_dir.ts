/**
 * The runtime directory: where it is, and that nobody else can get into it.
 *
 * @module
 */

import { isAbsolute, join, resolve } from "./path.ts";
import { PatchbayError } from "@patchbay/core";
import { fromNotCapable, isGranted, readEnvironment } from "./permissions.ts";

/** How to choose the runtime directory. */
export interface RuntimeDirOptions {
  /**
   * The directory. Default: `$XDG_RUNTIME_DIR/patchbay`, else `patchbay-<uid>` in the system's
   * temporary folder.
   */
  path?: string;
  /**
   * Whether the directory may belong to another user, or be open to a group or everyone. Files in
   * it are then as open as the directory is. Default false: such a directory is refused.
   */
  shareRuntimeDir?: boolean;
}

const POSIX = Deno.build.os !== "windows";

/** This process's user id; `undefined` where there is none or it may not be asked. */
export function currentUid(): number | undefined {
  if (!POSIX || !isGranted({ name: "sys", kind: "uid" })) return undefined;
  return Deno.uid() ?? undefined;
}

function temporaryFolder(): string {
  const names = POSIX ? ["TMPDIR", "TMP", "TEMP"] : ["TEMP", "TMP"];
  for (const name of names) {
    const folder = readEnvironment(name);
    if (folder !== undefined && isAbsolute(folder)) return folder;
  }
  if (POSIX) return "/tmp";
  throw new PatchbayError("unavailable", "the system's temporary folder is not known", {
    retryable: false,
    remedy: "run deno with --allow-env=TEMP,TMP, or set runtimeDirectory",
  });
}

function fallback(): string {
  if (!POSIX) return join(temporaryFolder(), "patchbay");
  const uid = currentUid();
  if (uid !== undefined) return join(temporaryFolder(), `patchbay-${uid}`);
  throw new PatchbayError(
    "unavailable",
    "the runtime directory cannot be named: the user id may not be asked",
    {
      retryable: false,
      remedy: "run deno with --allow-sys=uid, or with --allow-env=XDG_RUNTIME_DIR where that is " +
        "set, or set runtimeDirectory",
      details: { flags: ["--allow-sys=uid"] },
    },
  );
}

/** The paths to try, in order: all but the last may turn out not to exist. */
function candidates(options: RuntimeDirOptions): string[] {
  if (options.path !== undefined) return [resolve(options.path)];
  const xdg = readEnvironment("XDG_RUNTIME_DIR");
  // The XDG base directory specification: a relative path is invalid and ignored.
  if (xdg === undefined || !isAbsolute(xdg)) return [fallback()];
  const preferred = join(xdg, "patchbay");
  return exists(preferred) || exists(xdg) !== false ? [preferred] : [fallback()];
}

/** Whether something is there; `undefined` if that may not be asked. */
function exists(path: string): boolean | undefined {
  if (!isGranted({ name: "read", path })) return undefined;
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? false : undefined;
  }
}

/**
 * Where the runtime directory is or would be. Creates and verifies nothing, asks no permission: an
 * environment variable that may not be read counts as not set.
 *
 * Programs that are to meet must come to the same answer: grant all of them
 * `--allow-env=XDG_RUNTIME_DIR,TMPDIR --allow-sys=uid`, or none and set the path.
 *
 * @param options An explicit path, if any.
 * @throws {PatchbayError} `unavailable`: no choice is left; the remedy names the flag.
 */
export function locateRuntimeDir(options: RuntimeDirOptions = {}): string {
  return candidates(options)[0];
}

function flagsFor(path: string): string[] {
  return [`--allow-read=${path}`, `--allow-write=${path}`];
}

function forbidden(path: string, why: string, remedy: string): PatchbayError {
  return new PatchbayError("forbidden", `the runtime directory ${path} ${why}`, {
    remedy,
    details: { path },
  });
}

/** Who owns what this process creates, learnt from a file, for want of `--allow-sys=uid`. */
function uidByProbe(folder: string): number | undefined {
  const path = join(folder, `.probe-${crypto.randomUUID()}`);
  Deno.writeTextFileSync(path, "", { createNew: true, mode: 0o600 });
  const { uid } = Deno.lstatSync(path);
  Deno.removeSync(path);
  return uid ?? undefined;
}

function verify(path: string, share: boolean): void {
  const info = Deno.lstatSync(path);
  if (info.isSymlink) {
    throw forbidden(path, "is a symbolic link", "remove it, or set runtimeDirectory to its target");
  }
  if (!info.isDirectory) {
    throw forbidden(path, "is not a directory", "remove it, or set runtimeDirectory");
  }
  if (!POSIX || share) return;
  const mode = (info.mode ?? 0) & 0o777;
  if ((mode & 0o077) !== 0) {
    throw forbidden(
      path,
      `is open to others (mode ${mode.toString(8).padStart(4, "0")})`,
      `chmod 700 ${path}, or pass shareRuntimeDir: true if sharing is meant`,
    );
  }
  const uid = currentUid() ?? uidByProbe(path);
  if (uid !== undefined && info.uid !== uid) {
    throw forbidden(
      path,
      `belongs to user ${info.uid}, and this process runs as ${uid}`,
      "set runtimeDirectory to one of your own, or pass shareRuntimeDir: true if sharing is meant",
    );
  }
}

/**
 * Finds the runtime directory, creates it (0700; 0770 if shared) and verifies it.
 *
 * Guaranteed: what is returned is a directory, no symbolic link, which belongs to this user and is
 * open to nobody else, unless {@link RuntimeDirOptions.shareRuntimeDir} says otherwise.
 *
 * @param options An explicit path, and whether sharing is meant.
 * @returns Its absolute path.
 * @throws {PatchbayError} `forbidden`: it belongs to somebody else, or is open to others;
 *   `unavailable`: a permission is missing (the remedy names the flag), or it cannot be made.
 *
 * @example
 * ```ts
 * import { openRuntimeDir } from "@patchbay/host";
 *
 * const parent = await Deno.makeTempDir();
 * const path = openRuntimeDir({ path: `${parent}/run` });
 * console.log(((await Deno.stat(path)).mode! & 0o777).toString(8)); // 700
 * await Deno.remove(parent, { recursive: true });
 * ```
 */
export function openRuntimeDir(options: RuntimeDirOptions = {}): string {
  const path = locateRuntimeDir(options);
  const share = options.shareRuntimeDir ?? false;
  const what = `the runtime directory ${path} cannot be used`;
  for (const name of ["read", "write"] as const) {
    if (!isGranted({ name, path })) {
      throw fromNotCapable(new Deno.errors.NotCapable(`${name} ${path}`), what, flagsFor(path));
    }
  }
  try {
    try {
      Deno.mkdirSync(path, { mode: share ? 0o770 : 0o700 });
      // The umask may have taken from a shared directory what sharing needs.
      if (share && POSIX) Deno.chmodSync(path, 0o770);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
    verify(path, share);
    return path;
  } catch (error) {
    if (error instanceof PatchbayError) throw error;
    const known = fromNotCapable(error, what, flagsFor(path));
    if (known instanceof PatchbayError) throw known;
    const denied = error instanceof Deno.errors.PermissionDenied;
    throw new PatchbayError(denied ? "forbidden" : "unavailable", `${what}: ${reason(error)}`, {
      retryable: false,
      remedy: error instanceof Deno.errors.NotFound
        ? `create the folder above it, or set runtimeDirectory`
        : "set runtimeDirectory to a folder of your own",
      cause: error,
    });
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
