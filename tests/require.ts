/**
 * Lets a test that cannot run here say so by name, and fail where it is required to run.
 *
 * @module
 */

/** What a probe may answer: the shape of a plugin's `available()`, or simply yes or no. */
export type ProbeAnswer =
  | boolean
  | { available: true; detail?: string }
  | { available: false; reason: string; remedy?: string };

/** What `Deno.test` needs to know. */
export interface Requirement {
  /** Whether tests with this need are ignored. */
  ignore: boolean;
  /** The test's name as given, followed by reason and remedy when it is ignored. */
  name(title: string): string;
}

/** What is known about one need, once it was probed. */
export interface Need {
  /** The word that `REQUIRE` uses, such as `redis`. */
  name: string;
  /** Whether it is there. */
  met: boolean;
  /** Why it is not. */
  reason: string;
  /** What to do about it. */
  remedy: string;
}

/** Whether the value of `REQUIRE` names a need: `redis,mqtt`, or `all`. */
export function isRequired(name: string, value: string | undefined): boolean {
  const names = (value ?? "").split(",").map((each) => each.trim());
  return names.includes("all") || names.includes(name);
}

/** The requirement that follows from a need. */
export function requirement(need: Need): Requirement {
  const why = `[ignored: ${need.name}: ${need.reason}; remedy: ${need.remedy}]`;
  return {
    ignore: !need.met,
    name: (title) => need.met ? title : `${title} ${why}`,
  };
}

/** Asks the probe once; it may answer, reject or hang, and is given `timeoutMs` for it. */
export async function ask(
  name: string,
  probe: () => ProbeAnswer | Promise<ProbeAnswer>,
  remedy: string,
  timeoutMs: number = 10_000,
): Promise<Need> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<ProbeAnswer>((resolve) => {
    const reason = `no answer in ${timeoutMs} ms`;
    timer = setTimeout(() => resolve({ available: false, reason }), timeoutMs);
  });
  const asked = (async () => await probe())().catch((error: unknown): ProbeAnswer => ({
    available: false,
    reason: error instanceof Error ? error.message : String(error),
  }));
  const answer = await Promise.race([asked, late]).finally(() => clearTimeout(timer));
  if (typeof answer === "boolean") return { name, met: answer, reason: "not found", remedy };
  if (answer.available) return { name, met: true, reason: "", remedy };
  return { name, met: false, reason: answer.reason, remedy: answer.remedy ?? remedy };
}

/**
 * Probes a need of the tests in this file. Where it is not met, they are ignored under a name that
 * carries reason and remedy; where the environment variable `REQUIRE` names it (`REQUIRE=redis,mqtt`
 * or `REQUIRE=all`), one more test is registered, which fails and says the same.
 *
 * ```ts ignore
 * const redis = await requireOrIgnore("redis", probeRedis, "apt-get install redis-server");
 *
 * Deno.test({ name: redis.name("redis: a call is answered"), ignore: redis.ignore, fn });
 * ```
 *
 * @param name The word that `REQUIRE` uses.
 * @param probe Says whether the tests can run; a rejection is a no, with the error as reason.
 * @param remedy What to do when they cannot, unless the probe says it.
 */
export async function requireOrIgnore(
  name: string,
  probe: () => ProbeAnswer | Promise<ProbeAnswer>,
  remedy: string,
): Promise<Requirement> {
  const need = await ask(name, probe, remedy);
  if (!need.met && isRequired(name, Deno.env.get("REQUIRE"))) {
    Deno.test(`${name} is required here (REQUIRE)`, () => {
      throw new Error(`${name} cannot be used: ${need.reason}; remedy: ${need.remedy}`);
    });
  }
  return requirement(need);
}
