import type { Logger } from "pino";
import type { Carrier, SubmitAnswer } from "../carriers/carrier.ts";
import type { Report } from "../domain/lifecycle.ts";
import type { Message } from "../domain/message.ts";
import type { Pools } from "../store/pools.ts";
import type { Store } from "../store/store.ts";
import { createDueQueue } from "./due-queue.ts";
import type { Reporter } from "./reporter.ts";

export type DispatcherParts = {
  readonly store: Store;
  readonly pools: Pools;
  readonly carriers: ReadonlyMap<string, Carrier>;
  readonly reporter: Reporter;
  readonly clock: () => number;
  readonly random: () => number;
  readonly log: Logger;
  /** Names this process in what it sends. */
  readonly owner: string;
  /** Milliseconds after which a submit counts as never answered. */
  readonly submitTimeout: number;
};

/** Moves messages from their numbers' queues to the carriers, each number at its pace. */
export type Dispatcher = {
  /** Tells of numbers that have new messages. */
  readonly wake: (phoneNumberIds: Iterable<string>) => void;
  readonly start: () => Promise<void>;
  /** Claims nothing more, and resolves when what was handed over is answered, or after so many milliseconds. */
  readonly stop: (within: number) => Promise<void>;
};

/** Numbers in one claim: a transaction of a few milliseconds. */
const CLAIM = 200;
/** Submits under way at most, over all carriers; beyond it the queues in the database wait. */
const WINDOW = 2_000;
/** Claims are no closer together than this, milliseconds: each is a sync to disk, and paces have that much slack. */
const TURN = 20;
/** How often queues that nobody told us of are looked for, milliseconds. */
const POLL = 5_000;
const MOST_QUEUES = 1_000_000;

/** A dispatcher over the store's queues. Nothing is claimed before `start`. */
export function createDispatcher(parts: DispatcherParts): Dispatcher {
  const { store, carriers, reporter, clock, log } = parts;
  const due = createDueQueue();
  // What claims told: waking a number before its pace lets it send would be a claim for nothing.
  const freeAt = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  let poll: NodeJS.Timeout | undefined;
  let unwatch = () => {};
  let isRunning = false;
  let turning: Promise<void> | undefined;
  const underWay = new Set<Promise<void>>();

  const schedule = () => {
    if (!isRunning || turning !== undefined) return;
    const next = due.nextAt();
    clearTimeout(timer);
    if (next === undefined || underWay.size >= WINDOW) return;
    timer = setTimeout(turn, Math.max(TURN, Math.min(next - clock(), POLL)));
  };

  const turn = () => {
    turning ??= claimDue()
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
    const phoneNumberIds = due.takeDue(now, Math.min(CLAIM, WINDOW - underWay.size));
    if (phoneNumberIds.length === 0) return;
    try {
      for (const claim of await store.claim({ now, owner: parts.owner, phoneNumberIds })) {
        freeAt.set(claim.phoneNumberId, claim.freeAt);
        if (claim.dueAt !== undefined) due.put(claim.phoneNumberId, claim.dueAt);
        for (const message of claim.messages) track(handOver(message));
        parts.pools.book(claim.expired);
      }
    } catch (error) {
      for (const id of phoneNumberIds) due.put(id, now);
      throw error;
    }
  };

  const track = (work: Promise<void>) => {
    underWay.add(work);
    work.finally(() => {
      underWay.delete(work);
      if (underWay.size === WINDOW - 1) schedule();
    });
  };

  const handOver = async (message: Message): Promise<void> => {
    const { organizationId, id: messageId, carrier: name } = message;
    const answer = await submit(carriers.get(name), message);
    const report = reportOf(answer, message);
    await reporter.report({ target: { organizationId, messageId }, carrier: name, report });
    if (report.kind !== "deferred") return;
    due.put(message.phoneNumberId, report.retryAt);
    schedule();
  };

  const submit = async (carrier: Carrier | undefined, message: Message): Promise<SubmitAnswer> => {
    // A carrier that is no longer configured may come back: the message waits for it until valid_until.
    if (carrier === undefined) return { kind: "deferred", carrierCode: "carrier not configured", retryAfter: 60_000 };
    const { id: messageId, from, to, text, encoding, parts: segments } = message;
    let late: NodeJS.Timeout | undefined;
    const timeout = new Promise<SubmitAnswer>((resolve) => {
      late = setTimeout(() => resolve({ kind: "unanswered" }), parts.submitTimeout);
    });
    const answer = carrier.submit({ messageId, from, to, text, encoding, parts: segments });
    return Promise.race([answer, timeout]).finally(() => clearTimeout(late));
  };

  const reportOf = (answer: SubmitAnswer, message: Message): Report => {
    const at = clock();
    if (answer.kind !== "deferred") return { ...answer, at };
    // 1 s at first, then doubling with the message's age, with jitter so that retries do not come in step.
    const wait =
      answer.retryAfter ?? Math.max(1000, Math.min(at - message.receivedAt, 600_000)) * (1 + 0.25 * parts.random());
    return { kind: "deferred", at, carrierCode: answer.carrierCode, retryAt: at + Math.ceil(wait) };
  };

  const findQueues = async () => {
    for (const { phoneNumberId, dueAt } of await store.listQueues(MOST_QUEUES)) due.put(phoneNumberId, dueAt);
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
      poll = setInterval(() => {
        findQueues().catch((error) => log.error({ err: error }, "queues could not be looked for"));
      }, POLL);
    },
    stop: async (within) => {
      isRunning = false;
      clearTimeout(timer);
      clearInterval(poll);
      unwatch();
      await turning;
      let hurry: NodeJS.Timeout | undefined;
      const patience = new Promise((resolve) => {
        hurry = setTimeout(resolve, within);
      });
      await Promise.race([Promise.all(underWay), patience]);
      clearTimeout(hurry);
    },
  };
}
