import type { Config } from "../config.ts";
import type { MaintenanceTask } from "../delivery/maintenance.ts";
import { judge } from "../domain/health.ts";
import { earliestId } from "../domain/ids.ts";
import { IDEMPOTENCY_RETENTION_MS, RECEIPT_WINDOW_MS, RETRY_WINDOW_MS } from "../domain/limits.ts";
import type { AssignedHealth } from "../store/pool-records.ts";
import type { Pools } from "../store/pools.ts";
import type { Store } from "../store/store.ts";

export type MaintenanceParts = {
  readonly config: Config;
  readonly store: Store;
  readonly pools: Pools;
  readonly clock: () => number;
  /** Exchanges what changed with the other processes. */
  readonly synchronize: () => Promise<unknown>;
  /** Looks for numbers whose carrier is not configured. */
  readonly lookForUnreachable: () => Promise<void>;
};

const SECOND = 1_000;
/** Small rows that are forgotten in one step, of each kind: a few milliseconds. */
const ROWS_AT_ONCE = 1_000;
/** Messages that await a receipt and are looked at in one step: only their index is read, but for those that are too old. */
const SENT_AT_ONCE = 5_000;
/** Kept receipts that are looked at in one step: a few milliseconds. */
const RECEIPTS_AT_ONCE = 100;
/** Numbers of a deleted profile that are rewritten in one step: a few milliseconds. */
const NUMBERS_AT_ONCE = 100;
/** Numbers whose health is looked at in one step: a few milliseconds; and how often a look at all of them begins, milliseconds. */
const HEALTH_AT_ONCE = 1_000;
const HEALTH_INTERVAL = 60 * SECOND;
/** Messages that expire in one step: a few milliseconds. */
const EXPIRED_AT_ONCE = 100;
/** Messages that are forgotten in one step, with their events: a few milliseconds. */
const MESSAGES_AT_ONCE = 200;

/** What is done again and again to keep the store tidy and this process in touch with the others. */
export function maintenanceTasks({
  config,
  store,
  pools,
  clock,
  synchronize,
  lookForUnreachable,
}: MaintenanceParts): MaintenanceTask[] {
  const window = config.receiptWindowSeconds * SECOND;
  const retention = config.messageRetentionSeconds * SECOND;
  let sentCursor: string | undefined;
  let receiptCursor: string | undefined;
  let organizations: string[] = [];
  let messageCursor: string | undefined;

  const forgetRows = async () => {
    const now = clock();
    const before = {
      keys: now - IDEMPOTENCY_RETENTION_MS,
      recentSends: now - RETRY_WINDOW_MS,
      stickyMappings: now - config.stickyLifetimeSeconds * SECOND,
      unmatchedReceipts: now - RECEIPT_WINDOW_MS,
    };
    return (await store.forget(before, ROWS_AT_ONCE)) >= ROWS_AT_ONCE;
  };

  const settleReceiptTimeouts = async () => {
    const now = clock();
    const request = { sentBefore: now - window, at: now, after: sentCursor, most: SENT_AT_ONCE };
    const { applied, next } = await store.settleReceiptTimeouts(request);
    pools.book(applied);
    sentCursor = next;
    return next !== undefined;
  };

  const matchReceipts = async () => {
    const request = { now: clock(), after: receiptCursor, most: RECEIPTS_AT_ONCE };
    const { applied, next } = await store.matchReceipts(request);
    pools.book(applied);
    receiptCursor = next;
    return next !== undefined;
  };

  const expireMessages = async () => {
    const applied = await store.expireMessages(clock(), EXPIRED_AT_ONCE);
    pools.book(applied);
    return applied.length === EXPIRED_AT_ONCE;
  };

  const forgetMessages = async () => {
    if (organizations.length === 0) organizations = (await store.listOrganizations()).map(({ id }) => id);
    const organizationId = organizations[0];
    if (organizationId === undefined) return false;
    const before = earliestId(clock() - retention);
    const { next } = await store.forgetMessages({
      organizationId,
      before,
      after: messageCursor,
      most: MESSAGES_AT_ONCE,
    });
    messageCursor = next;
    if (next === undefined) organizations.shift();
    return organizations.length > 0;
  };

  let healthCursor: string | undefined;
  let unhealthy: AssignedHealth[] = [];
  let lookAt = 0;
  /**
   * Loads the pools that have unhealthy numbers, so that metrics count them though nothing was sent through those pools yet. One pool
   * a step: a page of them, loaded without a pause, would hold up every call.
   */
  const findUnhealthy = async () => {
    const isLoaded = ({ organizationId, messagingProfileId }: AssignedHealth) =>
      pools.peek(organizationId, messagingProfileId) !== undefined;
    unhealthy = unhealthy.filter((each) => !isLoaded(each));
    const pool = unhealthy.shift();
    if (pool !== undefined) {
      await pools.load(pool.organizationId, pool.messagingProfileId);
      return true;
    }
    if (healthCursor === undefined && performance.now() < lookAt) return false;
    const { rows, next } = await store.listHealth(HEALTH_AT_ONCE, healthCursor);
    healthCursor = next;
    if (next === undefined) lookAt = performance.now() + HEALTH_INTERVAL;
    const now = clock();
    unhealthy = rows.filter((row) => judge(row.health, now).standing === "unhealthy" && !isLoaded(row));
    return next !== undefined || unhealthy.length > 0;
  };

  const always: MaintenanceTask[] = [
    {
      complaint: "the other processes could not be asked for peerUpdates",
      interval: SECOND,
      step: async () => {
        await synchronize();
        return false;
      },
    },
    { complaint: "unhealthy numbers not counted, retrying", interval: SECOND, step: findUnhealthy },
    {
      complaint: "numbers without a carrier could not be counted",
      interval: HEALTH_INTERVAL,
      step: async () => {
        await lookForUnreachable();
        return false;
      },
    },
    { complaint: "outdated rows stay for now", interval: 10 * SECOND, step: forgetRows },
    {
      complaint: "numbers of deleted profiles could not be unassigned",
      interval: SECOND,
      step: async () => (await store.unassignNumbers(NUMBERS_AT_ONCE)).isMore,
    },
    { complaint: "expired messages still wait", interval: SECOND / 2, step: expireMessages },
    { complaint: "kept receipts could not be matched", interval: SECOND, step: matchReceipts },
    {
      complaint: "messages without a receipt could not be settled",
      interval: Math.min(60 * SECOND, window),
      step: settleReceiptTimeouts,
    },
  ];
  if (retention === 0) return always;
  const forgetting = { complaint: "old messages stay for now", interval: Math.min(60 * SECOND, retention) };
  return [...always, { ...forgetting, step: forgetMessages }];
}
