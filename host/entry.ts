/**
 * The file of one bay in the runtime directory: how it is named, written, read and checked.
 *
 * @module
 */

import { join } from "./path.ts";
import {
  type DirectoryEndpoint,
  type DirectoryEntry,
  PatchbayError,
  readBridged,
} from "@patchbay/core";

/** The largest entry that is read or written, in bytes. */
export const MAX_ENTRY_BYTES: number = 1024 * 1024;

/** The version of the entry's form. */
const VERSION = 1;

const ENTRY_NAME = /^([a-z0-9][a-z0-9_-]*)\.json$/;
const LOCK_NAME = /^([a-z0-9][a-z0-9_-]*)\.lock$/;
/** Any file that belongs to one instance; instance names have no dot, so the first one ends it. */
const OWNED_NAME =
  /^(?:\.([a-z0-9][a-z0-9_-]*)\.json\.tmp|([a-z0-9][a-z0-9_-]*)\.(?:json|lock|(?:[a-z0-9_]+\.)?sock(?:\.aside)?))$/;

/** The folder, below the runtime directory, that holds the statistics. */
export const STATISTICS_FOLDER = "statistics";

/** The instance whose entry a file name is; `undefined` for any other file. */
export function instanceOfEntry(fileName: string): string | undefined {
  return ENTRY_NAME.exec(fileName)?.[1];
}

/**
 * The instance whose entry or lock a file name is. A lock alone is of a bay that is opening or
 * closing, or of one that died meanwhile.
 */
export function instanceOfLife(fileName: string): string | undefined {
  return instanceOfEntry(fileName) ?? LOCK_NAME.exec(fileName)?.[1];
}

/** The instance a file belongs to; `undefined` for a file that is nobody's. */
export function instanceOfFile(fileName: string): string | undefined {
  const found = OWNED_NAME.exec(fileName);
  return found?.[1] ?? found?.[2];
}

/** The path of an instance's entry. */
export function entryPath(folder: string, instance: string): string {
  return join(folder, `${instance}.json`);
}

/** The path of an instance's lock. */
export function lockPath(folder: string, instance: string): string {
  return join(folder, `${instance}.lock`);
}

/** The path of an instance's statistics. */
export function statisticsPath(folder: string, instance: string): string {
  return join(folder, STATISTICS_FOLDER, `${instance}.json`);
}

/**
 * The mode of a file in a folder: as open as the folder is. What others must be able to lock or
 * connect to needs their right to write; an entry is only ever read by them.
 *
 * @param folder The folder.
 * @param writable Whether those who may use the folder may write the file.
 */
export function fileMode(folder: string, writable: boolean): number {
  const mode = Deno.lstatSync(folder).mode ?? 0o700;
  return (mode & (writable ? 0o666 : 0o644)) | 0o600;
}

/**
 * Writes a file so that a reader sees the old content or the new, never a part.
 *
 * @param path The file.
 * @param temporary Where it is written first, in the same folder; only the lock's holder writes.
 * @param text The content.
 * @param mode The file's mode.
 * @param mtimeMs The modification time to give it, in whole milliseconds.
 */
export function writeAtomically(
  path: string,
  temporary: string,
  text: string,
  mode: number,
  mtimeMs?: number,
): void {
  try {
    Deno.removeSync(temporary);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const file = Deno.openSync(temporary, { write: true, createNew: true, mode });
  let whole = false;
  try {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    if (mtimeMs !== undefined) file.utimeSync(new Date(mtimeMs), new Date(mtimeMs));
    whole = true;
  } finally {
    file.close();
    // A full disk: what was written of it must not stay after its owner.
    if (!whole) Deno.removeSync(temporary);
  }
  // The umask takes from the mode given to open.
  if ((mode & 0o077) !== 0 && Deno.build.os !== "windows") Deno.chmodSync(temporary, mode);
  Deno.renameSync(temporary, path);
}

/**
 * Writes an entry.
 *
 * @param folder The runtime directory.
 * @param entry The entry.
 * @param mode The file's mode.
 * @param mtimeMs Later than at every earlier write of it: readers compare milliseconds and size.
 * @throws {PatchbayError} `too_large`: nobody would read it.
 */
export function writeEntry(
  folder: string,
  entry: DirectoryEntry,
  mode: number,
  mtimeMs: number,
): void {
  const text = JSON.stringify({ patchbay: VERSION, ...entry });
  // Addresses and names are ASCII; what is not counts double at most in a limit that is generous.
  if (text.length > MAX_ENTRY_BYTES) {
    throw new PatchbayError(
      "too_large",
      `the directory entry of ${entry.instance} has ${text.length} bytes`,
      {
        details: { size: text.length, max: MAX_ENTRY_BYTES },
        remedy: "serve fewer addresses from one bay, or open several",
      },
    );
  }
  const temporary = join(folder, `.${entry.instance}.json.tmp`);
  writeAtomically(entryPath(folder, entry.instance), temporary, text, mode, mtimeMs);
}

/**
 * Reads an entry.
 *
 * @param folder The runtime directory.
 * @param instance The instance.
 * @returns The entry; a sentence that says what is wrong with the file; `undefined`: it is gone.
 */
export function readEntry(folder: string, instance: string): DirectoryEntry | string | undefined {
  try {
    const path = entryPath(folder, instance);
    const info = Deno.lstatSync(path);
    if (!info.isFile) return "it is not a regular file";
    if (info.size > MAX_ENTRY_BYTES) {
      return `it has ${info.size} bytes, the limit is ${MAX_ENTRY_BYTES}`;
    }
    return parseEntry(Deno.readTextFileSync(path), instance);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * Checks the text of an entry.
 *
 * @param text The file's content.
 * @param instance The instance that the file's name says.
 * @returns The entry, or a sentence that says what is wrong.
 */
export function parseEntry(text: string, instance: string): DirectoryEntry | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `it is not JSON: ${error instanceof Error ? error.message : error}`;
  }
  if (!isRecord(value)) return "it is not an object";
  if (value.patchbay !== VERSION) return `its version is ${value.patchbay}, not ${VERSION}`;
  if (typeof value.id !== "string" || !/^[0-9a-f]{1,64}$/.test(value.id)) return "its id is wrong";
  if (typeof value.module !== "string" || value.module === "") return "its module is wrong";
  if (value.instance !== instance) return "its instance is not the one its file is named after";
  if (!isWhole(value.pid)) return "its pid is wrong";
  if (!isWhole(value.startedAtMs)) return "its startedAtMs is wrong";
  if (!isRecord(value.wires)) return "its wires are wrong";
  for (const where of Object.values(value.wires)) {
    if (typeof where !== "string") return "its wires are wrong";
  }
  if (!Array.isArray(value.endpoints)) return "its endpoints are wrong";
  const endpoints: DirectoryEndpoint[] = [];
  for (const each of value.endpoints) {
    const endpoint = parseEndpoint(each);
    if (endpoint === undefined) return `its endpoint ${endpoints.length} is wrong`;
    endpoints.push(endpoint);
  }
  return {
    id: value.id,
    module: value.module,
    instance,
    pid: value.pid,
    startedAtMs: value.startedAtMs,
    wires: value.wires as Record<string, string>,
    endpoints,
  };
}

const PATTERNS: readonly unknown[] = ["callable", "speaker", "job"];
const ROLES: readonly unknown[] = ["server", "speaker", "listener"];

function parseEndpoint(value: unknown): DirectoryEndpoint | undefined {
  if (!isRecord(value)) return undefined;
  const { pattern, role, address, wires, shared, retain } = value;
  const right = PATTERNS.includes(pattern) && ROLES.includes(role) &&
    typeof address === "string" && address !== "" &&
    Array.isArray(wires) && wires.every((wire) => typeof wire === "string") &&
    (shared === undefined || typeof shared === "boolean") &&
    (retain === undefined || typeof retain === "boolean");
  if (!right) return undefined;
  const endpoint = { pattern, role, address, wires, shared, retain } as DirectoryEndpoint;
  if (value.bridged === undefined) return endpoint;
  try {
    return { ...endpoint, bridged: readBridged(value.bridged) };
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
