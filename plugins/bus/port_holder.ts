/**
 * Tells who listens on a TCP port of this host, where the system says so (Linux).
 *
 * @module
 */

const LISTEN = "0A"; // TCP_LISTEN, include/net/tcp_states.h
const MAX_PROCESSES = 10_000;

/**
 * Who listens on a port: `the process 4711 (deno)`. `undefined` where that cannot be known: on
 * other systems, without permission to read `/proc`, or if the process is another user's.
 *
 * @param port The port.
 */
export async function holderOf(port: number): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  // Reading /proc needs --allow-all: do not ask for it.
  const allowed = await Deno.permissions.query({ name: "read", path: "/proc" });
  if (allowed.state !== "granted") return undefined;
  try {
    const inodes = new Set([
      ...listening(await Deno.readTextFile("/proc/net/tcp"), port),
      ...listening(await Deno.readTextFile("/proc/net/tcp6").catch(() => ""), port),
    ]);
    if (inodes.size === 0) return undefined;
    let seen = 0;
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name) || ++seen > MAX_PROCESSES) continue;
      if (await holds(name, inodes)) {
        const command = (await Deno.readTextFile(`/proc/${name}/comm`)).trim();
        return `the process ${name} (${command})`;
      }
    }
  } catch {
    // It is only for a better message.
  }
  return undefined;
}

/** The inodes of sockets that listen on a port, of a table as /proc/net/tcp (proc(5)). */
function listening(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return table.split("\n").slice(1).flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    return state === LISTEN && local?.endsWith(`:${hex}`) ? [inode] : [];
  });
}

async function holds(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  try {
    for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
      const target = await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => "");
      if (inodes.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? "")) return true;
    }
  } catch {
    // Another user's process, or it has ended.
  }
  return false;
}
