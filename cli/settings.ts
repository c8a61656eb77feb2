/**
 * Settings of wires on the command line: `websocket.listen.port=8080`.
 *
 * @module
 */

import { UsageError } from "./complaint.ts";

/**
 * The configuration that some settings make, by wire.
 *
 * @param settings Each `wire.key=value`; a value is JSON, or else a text.
 */
export function nested(settings: readonly string[]): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const setting of settings) {
    const at = setting.indexOf("=");
    const keys = setting.slice(0, Math.max(at, 0)).split(".");
    const bad = keys.length < 2 ||
      keys.some((key) => !/^[A-Za-z][A-Za-z0-9_]*$/.test(key) || key === "constructor");
    if (bad) {
      throw new UsageError(`--set ${setting} is no setting`, {
        remedy: "--set websocket.listen.port=8080",
      });
    }
    let table = config;
    for (const key of keys.slice(0, -1)) {
      const inner = Object.hasOwn(table, key) ? table[key] : undefined;
      const next: Record<string, unknown> = typeof inner === "object" ? { ...inner } : {};
      table[key] = next;
      table = next;
    }
    table[keys.at(-1) as string] = valueOf(setting.slice(at + 1));
  }
  return config;
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
