import type { Logger } from "pino";
import type { Carrier, SubmitAnswer } from "../../carriers/carrier.ts";
import type { Report } from "../../domain/lifecycle.ts";
import type { QueuedMessage } from "../../domain/message.ts";
import type { Claim } from "../../domain/plan/claims.ts";
import type { Store } from "../../store/store.ts";
import type { Pools } from "../pools/pools.ts";
import type { Reporter } from "../reports/reporter.ts";
import type { Yielding } from "../yielding.ts";
import { createBlockedNumbers } from "./blocked-numbers.ts";
import { type CircuitBreaker, createCircuitBreaker } from "./circuit-breaker.ts";
import { createDueQueue } from "./due-queue.ts";
import { createLateAnswers } from "./late-answers.ts";

export type DispatcherParts = {
  readonly store: Store;
  readonly pools: Pools;
  readonly carriers: ReadonlyMap<string, Carrier>;
  readonly reporter: Reporter;
  readonly clock: () => number;
  readonly random: () => number;
  readonly log: Logger;
  readonly yieldAfter: Yielding["yieldAfter"];
  /** Names this process in what it sends. */
  readonly owner: string;
  /** Milliseconds after which a submit counts as never answered. */
  readonly submitTimeout: number;
  /** Whether delivery is held: then nothing is claimed but what expires. */
  readonly isHeld: () => boolean;
};

/** Moves messages from their numbers' queues to the carriers, each number at its pace. */
export type Dispatcher = {
  /** Tells of numbers that have new messages. */
  readonly wake: (phoneNumberIds: Iterable<string>) => void;
  readonly start: () => Promise<void>;
  /** Looks at every queue anew: delivery is no longer held. */
  readonly resume: () => void;
  /** Claims nothing more, and resolves when what was handed over is answered, or after so many milliseconds. */
  readonly stop: (within: number) => Promise<void>;
};

/** Claims are no closer together than this, milliseconds: each is a sync to disk, and paces have that much slack. */
const TURN = 20;
/** How often queues that nobody told us of are looked for, milliseconds: a page at a time, so that sends don't feel it. */
const POLL = 5_000;
const PAGE = 500;
const PAGE_PAUSE = 10;
/** How often numbers whose carrier takes nothing are looked at, milliseconds: what waits for too long expires all the same. */
const HELD_POLL = 60_000;
/** A clock that steps back by more than this, milliseconds, makes what was planned by it worthless. */
const STEP_BACK = 1_000;
/** How often what a claim may have taken without an answer is looked for, milliseconds. */
const REQUEUE_AGAIN = 1_000;
/** The first pause after a temporary refusal, and the longest, milliseconds. They double in between. */
const FIRST_RETRY = 1_000;
const MAX_RETRY = 600_000;
/** A carrier that is no longer configured may come back: its messages wait for it until their valid_until. */
const NOT_CONFIGURED: SubmitAnswer = { kind: "unavailable", carrierCode: "carrier not configured" };

/** A dispatcher over the store's queues. Nothing is claimed before `start`. */
export function createDispatcher(parts: DispatcherParts): Dispatcher {
  const { store, pools, carriers, reporter, clock, log } = parts;
  // Numbers in one claim, and messages of one carrier.
  const { atOnce } = store.delivery;
  const due = createDueQueue();
  const held = createBlockedNumbers();
  const breakers = new Map<string, CircuitBreaker>();
  // What claims told: waking a number before its pace lets it send would be a claim for nothing.
  const freeAt = new Map<string, number>();
  const lateAnswers = createLateAnswers({ report: reporter.report, clock, log });
  /** What is being handed over, by message. */
  const underWay = new Map<string, Promise<void>>();
  /** When to look for what a claim took that failed without an answer, by `elapsed`; undefined: there was none. */
  let requeueAt: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let poll: NodeJS.Timeout | undefined;
  let heldPoll: NodeJS.Timeout | undefined;
  let unwatch = () => {};
  let isRunning = false;
  let turning: Promise<void> | undefined;
  let lastTurn = 0;

  const breakerOf = (carrier: string): CircuitBreaker => {
    const breaker = breakers.get(carrier) ?? createCircuitBreaker(carriers.get(carrier)?.window ?? 1, parts.random);
    breakers.set(carrier, breaker);
    return breaker;
  };

  // Gates go by a clock that is never set: a carrier's pause is not longer because somebody mended the time.
  const elapsed = () => performance.now();

  const schedule = () => {
    if (!isRunning || turning !== undefined) return;
    const now = clock();
    let wait = (due.nextAt() ?? Number.POSITIVE_INFINITY) - now;
    for (const carrier of held.carriers()) wait = Math.min(wait, breakerOf(carrier).opensAt(elapsed()) - elapsed());
    if (requeueAt !== undefined) wait = Math.min(wait, requeueAt - elapsed());
    clearTimeout(timer);
    if (wait === Number.POSITIVE_INFINITY) return;
    timer = setTimeout(turn, Math.min(Math.max(wait, Math.min(lastTurn + TURN - now, TURN), 0), POLL));
  };

  /** After a step back nothing is due for as long as the step was; the stored queues tell what is. */
  const startAnew = () => {
    due.clear();
    freeAt.clear();
    clearTimeout(poll);
    void findQueues();
  };

  const turn = () => {
    const start = performance.now();
    turning ??= claimDue()
      .then(() => parts.yieldAfter(performance.now() - start))
      .catch((error) => {
        log.error({ err: error }, "queues could not be claimed; trying again");
        return new Promise<void>((resolve) => setTimeout(resolve, 1000));
      })
      .finally(() => {
        turning = undefined;
        schedule();
      });
  };

  const claimDue = async () => {
    const now = clock();
    if (now < lastTurn - STEP_BACK) startAnew();
    lastTurn = now;
    if (requeueAt !== undefined && requeueAt <= elapsed()) {
      const { phoneNumberIds, isSettled } = await store.requeue(parts.owner, [...underWay.keys()], now);
      for (const id of phoneNumberIds) due.put(id, now);
      requeueAt = isSettled ? undefined : elapsed() + REQUEUE_AGAIN;
    }
    for (const carrier of held.carriers()) {
      for (const id of held.take(carrier, Math.min(atOnce, breakerOf(carrier).budget(elapsed())))) due.put(id, now);
    }
    const phoneNumberIds = due.takeDue(now, atOnce);
    if (phoneNumberIds.length === 0) return;
    const budgets = new Map<string, number>();
    // Those that are not configured any more, too.
    for (const carrier of [...carriers.keys(), ...breakers.keys()])
      budgets.set(carrier, Math.min(atOnce, breakerOf(carrier).budget(elapsed())));
    try {
      const claims = await store.claim({
        now,
        owner: parts.owner,
        phoneNumberIds,
        budgets,
        isDeliveryHeld: parts.isHeld(),
      });
      pools.bookClaims(claims);
      for (const claim of claims) take(claim);
    } catch (error) {
      requeueAt = elapsed();
      for (const id of phoneNumberIds) due.put(id, now);
      throw error;
    }
  };

  const take = ({ phoneNumberId, carrier, messages, isHeld, dueAt, freeAt: free }: Claim) => {
    if (carrier === undefined) freeAt.delete(phoneNumberId);
    else freeAt.set(phoneNumberId, free);
    if (isHeld && carrier !== undefined) held.put(carrier, phoneNumberId);
    else if (dueAt !== undefined) due.put(phoneNumberId, dueAt);
    const generation = carrier === undefined ? 0 : breakerOf(carrier).gave(messages.length, elapsed());
    for (const message of messages) {
      const work = handOver(message, generation).then((isWritten) => {
        // One that was put off may be under way again; and what is not known to be on disk must not be taken for lost.
        if (isWritten && underWay.get(message.id) === work) underWay.delete(message.id);
      });
      underWay.set(message.id, work);
    }
  };

  /** Resolves with whether the carrier's answer is on disk. */
  const handOver = async (message: QueuedMessage, generation: number): Promise<boolean> => {
    const { organizationId, id: messageId, carrier, submits } = message;
    const answer = await submit(carriers.get(carrier), message);
    breakerOf(carrier).answered(answer, elapsed(), generation);
    const report = reportOf(answer, message);
    const applied = await reporter.report({ target: { organizationId, messageId }, carrier, report, submit: submits });
    if (report.kind === "deferred") due.put(message.phoneNumberId, report.retryAt);
    schedule();
    return applied.messageId !== undefined;
  };

  const submit = async (carrier: Carrier | undefined, message: QueuedMessage): Promise<SubmitAnswer> => {
    if (carrier === undefined) return NOT_CONFIGURED;
    const { organizationId, id: messageId, submits, from, to, text, encoding, parts: segments } = message;
    let late: NodeJS.Timeout | undefined;
    const timeout = new Promise<SubmitAnswer>((resolve) => {
      late = setTimeout(() => {
        resolve({ kind: "submit_unconfirmed" });
        lateAnswers.expect({ organizationId, id: messageId, carrier: carrier.name, submits }, answer);
      }, parts.submitTimeout);
    });
    const answer = carrier.submit({ messageId, from, to, text, encoding, parts: segments }).catch((error) => {
      log.error({ err: error }, "a carrier failed in a way that none should");
      return { kind: "submit_unconfirmed" } as const;
    });
    return Promise.race([answer, timeout]).finally(() => clearTimeout(late));
  };

  const reportOf = (answer: SubmitAnswer, message: QueuedMessage): Report => {
    const at = clock();
    if (answer.kind === "accepted" || answer.kind === "refused" || answer.kind === "submit_unconfirmed")
      return { ...answer, at };
    const { carrierCode } = answer;
    const told = "retryAfterMs" in answer ? answer.retryAfterMs : undefined;
    // A carrier that takes nothing is waited for by its breaker, and not by each message longer and longer.
    const times = answer.kind === "deferred" ? message.submits - 1 : 0;
    const jitter = 1 + 0.25 * parts.random();
    const wait = told ?? Math.min(FIRST_RETRY * 2 ** times, MAX_RETRY) * jitter;
    // It is looked at when its time runs out, too.
    const retryAt = Math.max(at, Math.min(at + Math.ceil(wait), message.validUntil));
    return { kind: "deferred", at, carrierCode, retryAt };
  };

  /** Looks at a page of queues, and goes on with the next one after a moment. */
  const findQueues = async (after?: string, look = pools.lookAtQueues()) => {
    let next = after;
    try {
      const page = await store.listQueues(PAGE, after);
      for (const { phoneNumberId, dueAt } of page) {
        // One whose day is used up is not claimed for nothing until midnight.
        const free = freeAt.get(phoneNumberId) ?? dueAt;
        due.put(phoneNumberId, Number.isFinite(free) ? Math.max(dueAt, free) : dueAt);
        look.see(phoneNumberId);
      }
      next = page.length < PAGE ? undefined : page.at(-1)?.phoneNumberId;
      if (next === undefined) look.finish();
    } catch (error) {
      log.error({ err: error }, "queues could not be looked for; trying again");
      next = undefined;
    }
    schedule();
    // Another look may have begun meanwhile; one goes on.
    clearTimeout(poll);
    if (!isRunning) return;
    poll =
      next === undefined
        ? setTimeout(() => void findQueues(), POLL)
        : setTimeout(() => void findQueues(next, look), PAGE_PAUSE);
  };

  const lookAtHeld = () => {
    const now = clock();
    for (const carrier of held.carriers()) {
      for (const id of held.take(carrier, Number.POSITIVE_INFINITY)) due.put(id, now);
    }
    schedule();
  };

  const wake = (phoneNumberIds: Iterable<string>) => {
    const now = clock();
    for (const id of phoneNumberIds) due.put(id, Math.max(now, freeAt.get(id) ?? now));
    schedule();
  };

  return {
    wake,
    start: async () => {
      isRunning = true;
      // A number that is no longer paused, or got another rate, may be due at once.
      unwatch = store.watchConfiguration(async ({ kind, id }) => {
        if (kind !== "phone_number") return;
        freeAt.delete(id);
        wake([id]);
      });
      await findQueues();
      heldPoll = setInterval(lookAtHeld, HELD_POLL);
    },
    resume: startAnew,
    stop: async (within) => {
      isRunning = false;
      clearTimeout(timer);
      clearTimeout(poll);
      clearInterval(heldPoll);
      unwatch();
      await turning;
      let hurry: NodeJS.Timeout | undefined;
      const patience = new Promise((resolve) => {
        hurry = setTimeout(resolve, within);
      });
      await Promise.race([Promise.all(underWay.values()), patience]);
      clearTimeout(hurry);
    },
  };
}
