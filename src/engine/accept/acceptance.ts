import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { lookBackMs } from "../../domain/client-attempt.ts";
import { Failure, type Refusal } from "../../domain/failure.ts";
import type { Ids } from "../../domain/ids.ts";
import { noteUnreported } from "../../domain/pool/book.ts";
import type { Pool } from "../../domain/pool/state.ts";
import type { AcceptReads } from "../../store/accept.ts";
import type { Store } from "../../store/store.ts";
import { rememberCall, runningCall, traceAccept } from "../../telemetry/message-spans.ts";
import {
  type DecidedGroup,
  decideOrUndo,
  isRetry,
  type Unit,
  type UnitOutcome,
  type UnitResult,
} from "./decide-group.ts";

/** The dependencies of the acceptance. */
export type AcceptanceParts = {
  readonly store: Store;
  readonly clock: () => number;
  readonly ids: Ids;
  /** How long a sticky mapping lives after its last message. */
  readonly stickyLifetimeMs: number;
  /** Receives the segments added to each number's queue, by number id, once they are on disk. */
  readonly onAccepted: (segments: ReadonlyMap<string, number>) => void;
};

/** How far ahead of this process the times of another may be, because clocks differ. */
const MAX_CLOCK_LEAD_MS = 10_000;
/** Messages in one transaction of sends that arrive together; a larger batch has its own one. */
const MAX_GROUP_ITEMS = 500;

/** How soon an attempt is decided again if an equal one is in flight in another process. */
const DEFER_MS = 100;
/** How long such an attempt waits before it is refused. */
const MAX_DEFER_MS = 5_000;

type Waiting = {
  readonly unit: Unit;
  /** Monotonic milliseconds. */
  readonly arrivedAtMs: number;
  /** The span of the call. */
  readonly call: ReturnType<typeof runningCall>;
  /** When it was first deferred for an equal attempt elsewhere, monotonic milliseconds. */
  deferredAtMs?: number;
  readonly resolve: (outcome: UnitOutcome) => void;
  readonly reject: (error: unknown) => void;
};

/**
 * Accepts messages by group commit: sends that arrive during one turn of the event loop are decided
 * in order and written in one transaction. One transaction runs at a time. `accept` resolves once
 * the unit is on disk. It rejects if nothing was accepted; with UNAVAILABLE the outcome may be
 * unknown.
 */
export function createAcceptance(parts: AcceptanceParts) {
  const { store } = parts;
  let waiting: Waiting[] = [];
  let isScheduled = false;

  const schedule = () => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(commitNext);
  };

  const commitNext = async () => {
    const group = takeGroup();
    try {
      await commit(group);
    } finally {
      isScheduled = false;
      if (waiting.length > 0) schedule();
    }
  };

  const takeGroup = (): Waiting[] => {
    let items = 0;
    let count = 0;
    for (const { unit } of waiting) {
      if (count > 0 && items + unit.items.length > MAX_GROUP_ITEMS) break;
      items += unit.items.length;
      count += 1;
    }
    const group = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return group;
  };

  const commit = async (group: readonly Waiting[]): Promise<void> => {
    const units = group.map(({ unit }) => unit);
    let decided: DecidedGroup | undefined;
    try {
      await traceAccept(
        group.map(({ call }) => call),
        (markDecided) =>
          store.accept(readsOf(group, parts.clock()), (facts) => {
            decided?.decisions.undo();
            decided = undefined;
            for (const id of facts.occupied ?? []) for (const pool of poolsOf(units)) noteUnreported(pool, id);
            decided = decideOrUndo(units, facts, parts);
            markDecided();
            return decided.writes;
          }),
      );
    } catch (error) {
      decided?.decisions.undo();
      // One bad unit must not fail the others, but a Failure of the store concerns every unit.
      const isStoreUnavailable = error instanceof Failure;
      if (isStoreUnavailable || group.length === 1) for (const { reject } of group) reject(error);
      else for (const one of group) await commit([one]);
      return;
    }
    const { results, decisions } = decided as DecidedGroup;
    decisions.confirm();
    group.forEach(({ call, resolve, reject }, index) => {
      const result = results[index] as UnitResult;
      if (call !== undefined) rememberMessages(call, result);
      if (result === "in_flight") defer(group[index] as Waiting);
      else if (result instanceof Failure) reject(result);
      else resolve(result);
    });
    if (decisions.queued.size > 0) parts.onAccepted(decisions.queued);
  };

  /** Decides the unit again later. Waiting inside the transaction would delay every other send. */
  const defer = (one: Waiting) => {
    one.deferredAtMs ??= performance.now();
    if (performance.now() - one.deferredAtMs >= MAX_DEFER_MS) {
      one.reject(new Failure(STILL_IN_FLIGHT));
      return;
    }
    setTimeout(() => {
      waiting.push(one);
      schedule();
    }, DEFER_MS);
  };

  return {
    accept: (unit: Unit): Promise<UnitOutcome> => {
      const needsStore = unit.key !== undefined || isRetry(unit) || unit.items.some((item) => "live" in item);
      if (!needsStore)
        return Promise.resolve({ kind: "decided", outcomes: unit.items as readonly { refusal: Refusal }[] });
      return new Promise((resolve, reject) => {
        waiting.push({ unit, arrivedAtMs: performance.now(), call: runningCall(), resolve, reject });
        schedule();
      });
    },
  };
}

const STILL_IN_FLIGHT: Refusal = {
  reason: ErrorReason.UNAVAILABLE,
  detail:
    "The outcome of an earlier attempt of this send is not known yet, so this one was not accepted; retry, or send an Idempotency-Key.",
};

/** Remembers which call accepted each message. */
function rememberMessages(call: NonNullable<Waiting["call"]>, result: UnitResult): void {
  if (typeof result === "string" || result instanceof Failure || result.kind !== "decided") return;
  for (const outcome of result.outcomes) if ("message" in outcome) rememberCall(outcome.message.id, call);
}

/** The pools that a group may pick from. */
function poolsOf(units: readonly Unit[]): Set<Pool> {
  return new Set(units.flatMap(({ items }) => items.flatMap((item) => ("live" in item ? [item.live.pool] : []))));
}

/** The reads of a group, in the order in which `decideGroup` uses their results. */
function readsOf(group: readonly Waiting[], now: number): AcceptReads {
  const reads = { recipients: [], keys: [], retries: [], firstAttempts: [] } as {
    [Kind in keyof Required<AcceptReads>]: Required<AcceptReads>[Kind][number][];
  };
  for (const { unit, arrivedAtMs } of group) {
    const { organizationId, method, items, key, requestHash, attempt } = unit;
    if (key !== undefined) reads.keys.push({ organizationId, method, key });
    else if (attempt !== undefined && requestHash !== undefined) {
      if (attempt.retryCount === 0) reads.firstAttempts.push(requestHash);
      else {
        const lookBack = lookBackMs(attempt) + Math.round(performance.now() - arrivedAtMs);
        reads.retries.push({ requestHash, since: now - lookBack, until: now + MAX_CLOCK_LEAD_MS });
      }
    }
    for (const item of items) {
      if (!("live" in item)) continue;
      const { live, send } = item;
      const sticky = item.from === undefined && live.profile.poolSettings?.stickySender === true;
      reads.recipients.push({ organizationId, messagingProfileId: live.profile.id, to: send.to, sticky });
    }
  }
  return reads;
}
