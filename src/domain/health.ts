/**
 * What a number's outcomes say about it: exponentially decaying counts with a half-life of 24 hours, as they were at `asOf`
 * (milliseconds since 1970). `spam` is contained in `failed`.
 */
export type HealthCounts = {
  readonly delivered: number;
  readonly failed: number;
  readonly spam: number;
  readonly inbound: number;
  readonly asOf: number;
  /** When an operator reset the counts, milliseconds since 1970; undefined: never. */
  readonly resetAt?: number | undefined;
};

/** Counts to be added to a number's health. */
export type HealthChange = {
  readonly delivered: number;
  readonly failed: number;
  readonly spam: number;
  readonly inbound: number;
};

/**
 * What the counts mean at a moment. `trial`: the number was, or nearly was, unhealthy, and one more failure can exclude it again;
 * it should have no more than one message unreported. `until`: when it leaves this standing by decay alone, milliseconds.
 */
export type Standing =
  | { readonly standing: "healthy" }
  | { readonly standing: "trial"; readonly until: number }
  | { readonly standing: "unhealthy"; readonly reason: "delivery" | "spam"; readonly until: number };

/** Evidence halves in this time, milliseconds. */
export const HALF_LIFE_MS = 24 * 3_600_000;

/** No evidence at all. */
export const NO_EVIDENCE: HealthCounts = { delivered: 0, failed: 0, spam: 0, inbound: 0, asOf: 0 };

/** Unhealthy below this delivery rate, and above its counterpart of spam. Both from the documented number pool. */
const DELIVERY_LIMIT = 0.25;
const SPAM_LIMIT = 0.75;
/** 95 % confidence. */
const Z = 1.96;
const HEALTHY: Standing = { standing: "healthy" };

/** The factor by which evidence shrinks in `milliseconds`. */
export function decay(milliseconds: number): number {
  return milliseconds <= 0 ? 1 : 2 ** (-milliseconds / HALF_LIFE_MS);
}

/** The counts after a reset: no outcome of a message that was submitted before it counts any more. */
export function resetCounts(at: number): HealthCounts {
  return { ...NO_EVIDENCE, asOf: at, resetAt: at };
}

/** Whether the outcome of a message that was submitted at a moment counts, or went with a reset. */
export function isCounted(counts: HealthCounts, submittedAt: number): boolean {
  return counts.resetAt === undefined || submittedAt >= counts.resetAt;
}

/** The counts after an outcome at `at`, which may lie before `asOf`: the order in which outcomes are added does not matter. */
export function addOutcome(counts: HealthCounts, change: HealthChange, at: number): HealthCounts {
  const old = decay(at - counts.asOf);
  const fresh = decay(counts.asOf - at);
  return {
    delivered: Math.max(0, counts.delivered * old + change.delivered * fresh),
    failed: Math.max(0, counts.failed * old + change.failed * fresh),
    spam: Math.max(0, counts.spam * old + change.spam * fresh),
    inbound: Math.max(0, counts.inbound * old + change.inbound * fresh),
    asOf: Math.max(counts.asOf, at),
    resetAt: counts.resetAt,
  };
}

/**
 * Judges counts at a moment. With a rate p of n outcomes, the Wilson bound crosses a limit u exactly where
 * n = z² u (1 - u) ÷ (u - p)². Decay changes n and leaves p alone, so the moment of return follows in closed form.
 */
export function judge(counts: HealthCounts, at: number): Standing {
  const outcomes = counts.delivered + counts.failed;
  if (outcomes === 0) return HEALTHY;
  const now = outcomes * decay(at - counts.asOf);
  const spam = enough(SPAM_LIMIT, counts.spam / outcomes - SPAM_LIMIT);
  const delivery = enough(DELIVERY_LIMIT, DELIVERY_LIMIT - counts.delivered / outcomes);
  const limit = Math.min(spam, delivery);
  if (now > limit)
    return { standing: "unhealthy", reason: now > spam ? "spam" : "delivery", until: at + timeTo(now, limit) };
  // One more failure adds one to n: within that distance of a limit the number is on trial.
  const trial = limit - 1;
  return now > trial ? { standing: "trial", until: at + timeTo(now, trial) } : HEALTHY;
}

/** The documented figures, at a moment. */
export function healthFigures(counts: HealthCounts, at: number) {
  const outcomes = counts.delivered + counts.failed;
  return {
    messageCount: Math.round(outcomes * decay(at - counts.asOf)),
    inboundOutboundRatio: outcomes === 0 ? 0 : counts.inbound / outcomes,
    successRatio: outcomes === 0 ? 1 : counts.delivered / outcomes,
    spamRatio: outcomes === 0 ? 0 : counts.spam / outcomes,
  };
}

/** How many outcomes make a rate that lies `beyond` a limit certain; Infinity when it does not lie beyond. */
function enough(limit: number, beyond: number): number {
  return beyond <= 0 ? Number.POSITIVE_INFINITY : (Z * Z * limit * (1 - limit)) / (beyond * beyond);
}

/** Milliseconds until `from` outcomes have decayed to `to`; one more, so that the limit itself is passed despite rounding. */
function timeTo(from: number, to: number): number {
  return Math.ceil(HALF_LIFE_MS * Math.log2(from / to)) + 1;
}
