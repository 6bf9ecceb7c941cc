/**
 * A number's outcomes as exponentially decaying counts with a half-life of 24 hours, valid at
 * `asOf` (milliseconds since 1970). `failed` includes `spam`.
 */
export type HealthCounts = {
  readonly delivered: number;
  readonly failed: number;
  readonly spam: number;
  readonly inbound: number;
  readonly asOf: number;
  /** When an operator reset the counts, milliseconds since 1970; undefined when never. */
  readonly resetAt?: number | undefined;
};

/** Counts to add to a number's health. */
export type HealthChange = {
  readonly delivered: number;
  readonly failed: number;
  readonly spam: number;
  readonly inbound: number;
};

/**
 * A number's standing at a moment. `trial`: one more failure can make the number unhealthy, so it
 * should have at most one unreported message. `until`: when decay alone ends this standing,
 * milliseconds since 1970.
 */
export type Standing =
  | { readonly standing: "healthy" }
  | { readonly standing: "trial"; readonly until: number }
  | { readonly standing: "unhealthy"; readonly reason: "delivery" | "spam"; readonly until: number };

/** The half-life of evidence. */
export const HALF_LIFE_MS = 24 * 3_600_000;

/** Counts without any outcome. */
export const NO_EVIDENCE: HealthCounts = { delivered: 0, failed: 0, spam: 0, inbound: 0, asOf: 0 };

/**
 * A number is unhealthy below this delivery rate or above this spam rate. Both limits are those of
 * the documented number pool.
 */
const DELIVERY_LIMIT = 0.25;
const SPAM_LIMIT = 0.75;
/** 95 % confidence. */
const Z = 1.96;
const HEALTHY: Standing = { standing: "healthy" };

/** The factor by which evidence shrinks in a time. */
export function decay(durationMs: number): number {
  return durationMs <= 0 ? 1 : 2 ** (-durationMs / HALF_LIFE_MS);
}

/** The counts after a reset. Outcomes of messages submitted before it no longer count. */
export function resetCounts(at: number): HealthCounts {
  return { ...NO_EVIDENCE, asOf: at, resetAt: at };
}

/** Whether the outcome of a message counts: the message was submitted after the last reset. */
export function isCounted(counts: HealthCounts, submittedAt: number): boolean {
  return counts.resetAt === undefined || submittedAt >= counts.resetAt;
}

/**
 * The counts after an outcome at `at`, which may lie before `asOf`: the order of additions does not
 * matter.
 */
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
 * The standing at a moment. For a rate p of n outcomes, the Wilson bound crosses a limit u exactly
 * at n = z² u (1 - u) ÷ (u - p)². Decay changes n but not p, so the moment of return has a closed
 * form.
 */
export function judge(counts: HealthCounts, at: number): Standing {
  const outcomes = counts.delivered + counts.failed;
  if (outcomes === 0) return HEALTHY;
  const now = outcomes * decay(at - counts.asOf);
  const spam = outcomesToProve(SPAM_LIMIT, counts.spam / outcomes - SPAM_LIMIT);
  const delivery = outcomesToProve(DELIVERY_LIMIT, DELIVERY_LIMIT - counts.delivered / outcomes);
  const limit = Math.min(spam, delivery);
  if (now > limit)
    return { standing: "unhealthy", reason: now > spam ? "spam" : "delivery", until: at + timeTo(now, limit) };
  // One more failure adds one to n: closer than that to the limit, the number is on trial.
  const trial = limit - 1;
  return now > trial ? { standing: "trial", until: at + timeTo(now, trial) } : HEALTHY;
}

/** The documented health figures at a moment. */
export function healthFigures(counts: HealthCounts, at: number) {
  const outcomes = counts.delivered + counts.failed;
  return {
    messageCount: Math.round(outcomes * decay(at - counts.asOf)),
    inboundOutboundRatio: outcomes === 0 ? 0 : counts.inbound / outcomes,
    successRatio: outcomes === 0 ? 1 : counts.delivered / outcomes,
    spamRatio: outcomes === 0 ? 0 : counts.spam / outcomes,
  };
}

/** The number of outcomes that proves a rate `excess` past a limit; Infinity without an excess. */
function outcomesToProve(limit: number, excess: number): number {
  return excess <= 0 ? Number.POSITIVE_INFINITY : (Z * Z * limit * (1 - limit)) / (excess * excess);
}

/**
 * Milliseconds until `from` outcomes decay to `to`, plus one to pass the limit despite rounding.
 */
function timeTo(from: number, to: number): number {
  return Math.ceil(HALF_LIFE_MS * Math.log2(from / to)) + 1;
}
