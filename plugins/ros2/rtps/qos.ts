/**
 * Quality of service: the policies, their defaults, and whether what a reader requests is offered.
 *
 * @module
 */

/** How sure delivery is. */
export type Reliability = "best_effort" | "reliable";
/** What a late reader gets. */
export type Durability = "volatile" | "transient_local" | "transient" | "persistent";
/** Who says that a writer lives. */
export type LivelinessKind = "automatic" | "manual_by_participant" | "manual_by_topic";

/** The policies of one endpoint, all stated. Durations are milliseconds; `Infinity`: none. */
export interface Qos {
  /** Whether what is lost is sent again. */
  readonly reliability: Reliability;
  /** Whether late readers get what was written before they came. */
  readonly durability: Durability;
  /** Whether the last `depth` samples of each instance are kept, or all. */
  readonly history: "keep_last" | "keep_all";
  /** How many samples of each instance `keep_last` keeps. */
  readonly depth: number;
  /** The longest time between two samples of an instance. */
  readonly deadlineMs: number;
  /** For how long a sample is of use. */
  readonly lifespanMs: number;
  /** Who says that a writer lives. */
  readonly liveliness: LivelinessKind;
  /** How long a writer that says nothing is taken for alive. */
  readonly livelinessLeaseMs: number;
  /** A hint about how long delivery may take; compared, not acted on. */
  readonly latencyBudgetMs: number;
  /** Whether several writers may write one instance; compared, not acted on. */
  readonly ownership: "shared" | "exclusive";
  /** By which time samples of several writers are ordered; compared, not acted on. */
  readonly destinationOrder: "by_reception" | "by_source";
  /** Names, with `*` and `?`, of which two endpoints must share one; empty: the unnamed one. */
  readonly partition: readonly string[];
}

/** DDS's own defaults, except that reliability is said for both kinds of endpoints. */
export const DEFAULT_QOS: Qos = {
  reliability: "reliable",
  durability: "volatile",
  history: "keep_last",
  depth: 1,
  deadlineMs: Infinity,
  lifespanMs: Infinity,
  liveliness: "automatic",
  livelinessLeaseMs: Infinity,
  latencyBudgetMs: 0,
  ownership: "shared",
  destinationOrder: "by_reception",
  partition: [],
};

/** In the order of their numbers on the wire, which is that of their strength (9.6.3.2). */
export const DURABILITIES: readonly Durability[] = [
  "volatile",
  "transient_local",
  "transient",
  "persistent",
];
/** As {@link DURABILITIES}. */
export const LIVELINESS_KINDS: readonly LivelinessKind[] = [
  "automatic",
  "manual_by_participant",
  "manual_by_topic",
];

/** Fills in what is not said, and refuses what cannot be. */
export function completeQos(given: Partial<Qos>, defaults: Qos = DEFAULT_QOS): Qos {
  const qos: Qos = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) (qos as unknown as Record<string, unknown>)[name] = value;
  }
  if (!Number.isInteger(qos.depth) || qos.depth < 1) {
    throw new RangeError(`depth must be an integer from 1, not ${qos.depth}`);
  }
  for (
    const name of ["deadlineMs", "lifespanMs", "livelinessLeaseMs", "latencyBudgetMs"] as const
  ) {
    if (!(qos[name] >= 0)) throw new RangeError(`${name} must be from 0, not ${qos[name]}`);
  }
  return qos;
}

/** A policy by which two endpoints of one topic fail to meet. */
export type MismatchPolicy =
  | "type"
  | "reliability"
  | "durability"
  | "deadline"
  | "liveliness"
  | "liveliness_lease"
  | "latency_budget"
  | "ownership"
  | "destination_order"
  | "partition"
  | "data_representation";

/** One policy that does not fit. */
export interface Mismatch {
  /** Its name. */
  readonly policy: MismatchPolicy;
  /** What the writer offers. */
  readonly offered: string;
  /** What the reader requests. */
  readonly requested: string;
}

/**
 * The policies by which a writer does not satisfy a reader (DDS 1.4, 2.2.3: requested against
 * offered); empty when they fit.
 *
 * @param offered The writer's.
 * @param requested The reader's.
 */
export function mismatches(offered: Qos, requested: Qos): Mismatch[] {
  const found: Mismatch[] = [];
  const add = (policy: MismatchPolicy, fits: boolean, o: unknown, r: unknown) => {
    if (!fits) found.push({ policy, offered: String(o), requested: String(r) });
  };
  const ms = (value: number) => value === Infinity ? "none" : `${value} ms`;
  add(
    "reliability",
    offered.reliability === "reliable" || requested.reliability === "best_effort",
    offered.reliability,
    requested.reliability,
  );
  add(
    "durability",
    DURABILITIES.indexOf(offered.durability) >= DURABILITIES.indexOf(requested.durability),
    offered.durability,
    requested.durability,
  );
  const within = (o: number, r: number) => o <= r * (1 + 1e-6) + 1e-3;
  add(
    "deadline",
    within(offered.deadlineMs, requested.deadlineMs),
    ms(offered.deadlineMs),
    ms(requested.deadlineMs),
  );
  add(
    "latency_budget",
    within(offered.latencyBudgetMs, requested.latencyBudgetMs),
    ms(offered.latencyBudgetMs),
    ms(requested.latencyBudgetMs),
  );
  add(
    "liveliness",
    LIVELINESS_KINDS.indexOf(offered.liveliness) >= LIVELINESS_KINDS.indexOf(requested.liveliness),
    offered.liveliness,
    requested.liveliness,
  );
  add(
    "liveliness_lease",
    within(offered.livelinessLeaseMs, requested.livelinessLeaseMs),
    ms(offered.livelinessLeaseMs),
    ms(requested.livelinessLeaseMs),
  );
  add(
    "ownership",
    offered.ownership === requested.ownership,
    offered.ownership,
    requested.ownership,
  );
  add(
    "destination_order",
    offered.destinationOrder === "by_source" || requested.destinationOrder === "by_reception",
    offered.destinationOrder,
    requested.destinationOrder,
  );
  add(
    "partition",
    partitionsMeet(offered.partition, requested.partition),
    JSON.stringify(offered.partition),
    JSON.stringify(requested.partition),
  );
  return found;
}

/** Whether two sets of partitions have a name in common; a pattern never meets a pattern. */
function partitionsMeet(a: readonly string[], b: readonly string[]): boolean {
  const named = (names: readonly string[]) => names.length === 0 ? [""] : names;
  const isPattern = (name: string) => /[*?]/.test(name);
  return named(a).some((x) =>
    named(b).some((y) =>
      x === y && !isPattern(x) ||
      isPattern(x) && !isPattern(y) && globMatches(x, y) ||
      isPattern(y) && !isPattern(x) && globMatches(y, x)
    )
  );
}

/** Whether a pattern of `*` and `?` matches; linear, since the pattern comes from the network. */
function globMatches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    if (
      p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t]) && pattern[p] !== "*"
    ) {
      p++;
      t++;
    } else if (p < pattern.length && pattern[p] === "*") {
      star = p++;
      mark = t;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
