import type { Claim } from "../../domain/plan/claims.ts";
import type { Store } from "../../store/store.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Pools } from "../pools/pools.ts";
import type { Yielding } from "../yielding.ts";
import type { CircuitBreakers } from "./circuit-breakers.ts";
import type { ClaimSchedule } from "./claim-schedule.ts";
import type { HandOver } from "./hand-over.ts";

/** The parts of a claim loop. */
export type ClaimLoopParts = {
  readonly store: Store;
  readonly pools: Pools;
  readonly schedule: ClaimSchedule;
  readonly breakers: CircuitBreakers;
  readonly handOver: HandOver;
  readonly clock: () => number;
  readonly log: Log;
  readonly yieldAfter: Yielding["yieldAfter"];
  /** This process, as claimed messages name it. */
  readonly owner: string;
  readonly isDeliveryHeld: () => boolean;
  /** Runs when the clock stepped back, so that the scheduled moments are worthless. */
  readonly onClockStep: () => void;
};

/** Claims messages of the numbers that are due, and hands them over. */
export type ClaimLoop = {
  /** Plans the next claim, after the schedule changed. */
  readonly plan: () => void;
  readonly start: () => void;
  /** Resolves when no claim is running. */
  readonly stop: () => Promise<void>;
};

/** The shortest time between two claims: each is a sync to disk, and paces have this much slack. */
const CLAIM_INTERVAL_MS = 20;
/** The longest wait for the next claim. */
const MAX_WAIT_MS = 5_000;
/** The pause after a claim that failed. */
const FAILURE_PAUSE_MS = 1_000;
/** The interval between claims of blocked numbers, whose messages still expire. */
const BLOCKED_INTERVAL_MS = 60_000;
/** A clock that steps back by more than this makes the scheduled moments worthless. */
const MAX_STEP_BACK_MS = 1_000;
/** The interval between requeues, until the store has settled. */
const REQUEUE_INTERVAL_MS = 1_000;

/** Creates a loop that is not running. */
export function createClaimLoop(parts: ClaimLoopParts): ClaimLoop {
  const { schedule, handOver, clock, log } = parts;
  const requeue = createRequeue(parts);
  let timer: NodeJS.Timeout | undefined;
  let blockedTimer: NodeJS.Timeout | undefined;
  let isRunning = false;
  let claiming: Promise<void> | undefined;
  let lastClaimAt = 0;

  const plan = () => {
    if (!isRunning || claiming !== undefined) return;
    const now = clock();
    const waitMs = Math.min(schedule.waitMs(now), requeue.waitMs());
    clearTimeout(timer);
    if (waitMs === Number.POSITIVE_INFINITY) return;
    const minWaitMs = Math.min(lastClaimAt + CLAIM_INTERVAL_MS - now, CLAIM_INTERVAL_MS);
    timer = setTimeout(claim, Math.min(Math.max(waitMs, minWaitMs, 0), MAX_WAIT_MS));
  };

  const claim = () => {
    const start = performance.now();
    claiming ??= claimDue()
      .then(() => parts.yieldAfter(performance.now() - start))
      .catch((error) => {
        log.error({ event: "claim_failed", err: error }, "claim failed, retrying");
        return new Promise<void>((resolve) => setTimeout(resolve, FAILURE_PAUSE_MS));
      })
      .finally(() => {
        claiming = undefined;
        plan();
      });
  };

  const claimDue = async () => {
    const now = clock();
    if (now < lastClaimAt - MAX_STEP_BACK_MS) parts.onClockStep();
    lastClaimAt = now;
    await requeue.run(now);
    const phoneNumberIds = schedule.takeDue(now, parts.store.delivery.atOnce);
    if (phoneNumberIds.length === 0) return;
    try {
      for (const each of await claimNumbers(parts, phoneNumberIds, now)) take(each);
    } catch (error) {
      requeue.expect();
      for (const id of phoneNumberIds) schedule.addDue(id, now);
      throw error;
    }
  };

  const take = (claim: Claim) => {
    const { phoneNumberId, carrier, messages } = claim;
    schedule.addClaimed(claim);
    const generation = carrier === undefined ? 0 : parts.breakers.recordSubmits(carrier, messages.length);
    for (const message of messages) {
      void handOver.submit(message, generation).then((retryAt) => {
        if (retryAt !== undefined) schedule.addDue(phoneNumberId, retryAt);
        plan();
      });
    }
  };

  const unblock = () => {
    schedule.unblockAll(clock());
    plan();
  };

  return {
    plan,
    start: () => {
      isRunning = true;
      blockedTimer = setInterval(unblock, BLOCKED_INTERVAL_MS);
      plan();
    },
    stop: async () => {
      isRunning = false;
      clearTimeout(timer);
      clearInterval(blockedTimer);
      await claiming;
    },
  };
}

async function claimNumbers(parts: ClaimLoopParts, phoneNumberIds: readonly string[], now: number): Promise<Claim[]> {
  const { store, pools, breakers, owner } = parts;
  const budgets = breakers.budgets(store.delivery.atOnce);
  const isDeliveryHeld = parts.isDeliveryHeld();
  const claims = await store.claim({ now, owner, phoneNumberIds, budgets, isDeliveryHeld });
  pools.bookClaims(claims);
  return claims;
}

/** Returns messages to their queues that a claim took whose answer was lost. */
function createRequeue({ store, schedule, handOver, owner }: ClaimLoopParts) {
  // By the monotonic clock; undefined: no claim failed.
  let nextAt: number | undefined;
  return {
    /** Notes that a claim failed, so that its outcome is unknown. */
    expect: () => {
      nextAt = performance.now();
    },
    waitMs: () => (nextAt === undefined ? Number.POSITIVE_INFINITY : nextAt - performance.now()),
    run: async (now: number) => {
      if (nextAt === undefined || nextAt > performance.now()) return;
      const { phoneNumberIds, isSettled } = await store.requeue(owner, handOver.underWay(), now);
      for (const id of phoneNumberIds) schedule.addDue(id, now);
      nextAt = isSettled ? undefined : performance.now() + REQUEUE_INTERVAL_MS;
    },
  };
}
