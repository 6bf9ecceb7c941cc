import type { Config } from "../config.ts";
import { judge } from "../domain/health.ts";
import { earliestId } from "../domain/ids.ts";
import { IDEMPOTENCY_RETENTION_MS, RECEIPT_WINDOW_MS, RETRY_WINDOW_MS } from "../domain/limits.ts";
import type { MaintenanceTask } from "../engine/maintenance/maintenance.ts";
import type { Pools } from "../engine/pools/pools.ts";
import type { AssignedHealth } from "../store/pool-records.ts";
import type { Store } from "../store/store.ts";

export type MaintenanceParts = {
  readonly config: Config;
  readonly store: Store;
  readonly pools: Pools;
  readonly clock: () => number;
  /** Exchanges changes with the other processes. */
  readonly synchronize: () => Promise<unknown>;
  /** Counts the numbers whose carrier is not configured. */
  readonly countUnreachable: () => Promise<void>;
};

const SECOND_MS = 1_000;
// Each step takes a few milliseconds.
/** Outdated rows deleted in one step, of each kind. */
const STEP_ROWS = 1_000;
/**
 * Messages without a receipt scanned in one step: only their index is read, and the rows of those
 * that are too old.
 */
const STEP_SENT_MESSAGES = 5_000;
/** Unmatched receipts scanned in one step. */
const STEP_RECEIPTS = 100;
/** Numbers of a deleted profile rewritten in one step. */
const STEP_NUMBERS = 100;
/** Health rows read in one step, and the interval between two scans of all of them. */
const STEP_HEALTH_ROWS = 1_000;
const HEALTH_INTERVAL_MS = 60 * SECOND_MS;
/** Messages expired in one step. */
const STEP_EXPIRED_MESSAGES = 100;
/** Messages deleted in one step, with their events. */
const STEP_OLD_MESSAGES = 200;

/** The recurring tasks that maintain the store and exchange changes with the other processes. */
export function maintenanceTasks({
  config,
  store,
  pools,
  clock,
  synchronize,
  countUnreachable,
}: MaintenanceParts): MaintenanceTask[] {
  const window = config.receiptWindowSeconds * SECOND_MS;
  const retention = config.messageRetentionSeconds * SECOND_MS;
  let sentCursor: string | undefined;
  let receiptCursor: string | undefined;
  let organizations: string[] = [];
  let messageCursor: string | undefined;

  const forgetRows = async () => {
    const now = clock();
    const before = {
      keys: now - IDEMPOTENCY_RETENTION_MS,
      recentSends: now - RETRY_WINDOW_MS,
      stickyMappings: now - config.stickyLifetimeSeconds * SECOND_MS,
      unmatchedReceipts: now - RECEIPT_WINDOW_MS,
    };
    return (await store.forget(before, STEP_ROWS)) >= STEP_ROWS;
  };

  const settleReceiptTimeouts = async () => {
    const now = clock();
    const request = { sentBefore: now - window, at: now, after: sentCursor, most: STEP_SENT_MESSAGES };
    const { applied, next } = await store.settleReceiptTimeouts(request);
    pools.book(applied);
    sentCursor = next;
    return next !== undefined;
  };

  const matchReceipts = async () => {
    const request = { now: clock(), after: receiptCursor, most: STEP_RECEIPTS };
    const { applied, next } = await store.matchReceipts(request);
    pools.book(applied);
    receiptCursor = next;
    return next !== undefined;
  };

  const expireMessages = async () => {
    const applied = await store.expireMessages(clock(), STEP_EXPIRED_MESSAGES);
    pools.book(applied);
    return applied.length === STEP_EXPIRED_MESSAGES;
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
      most: STEP_OLD_MESSAGES,
    });
    messageCursor = next;
    if (next === undefined) organizations.shift();
    return organizations.length > 0;
  };

  let healthCursor: string | undefined;
  let unhealthy: AssignedHealth[] = [];
  let scanAt = 0;
  /**
   * Loads the pools that have unhealthy numbers, so that metrics count them before any send. One
   * pool a step, so that calls are not delayed.
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
    if (healthCursor === undefined && performance.now() < scanAt) return false;
    const { rows, next } = await store.listHealth(STEP_HEALTH_ROWS, healthCursor);
    healthCursor = next;
    if (next === undefined) scanAt = performance.now() + HEALTH_INTERVAL_MS;
    const now = clock();
    unhealthy = rows.filter((row) => judge(row.health, now).standing === "unhealthy" && !isLoaded(row));
    return next !== undefined || unhealthy.length > 0;
  };

  const always: MaintenanceTask[] = [
    {
      name: "heartbeat",
      interval: SECOND_MS,
      step: async () => {
        await synchronize();
        return false;
      },
    },
    { name: "find_unhealthy_numbers", interval: SECOND_MS, step: findUnhealthy },
    {
      name: "count_unreachable_numbers",
      interval: HEALTH_INTERVAL_MS,
      step: async () => {
        await countUnreachable();
        return false;
      },
    },
    { name: "delete_outdated_rows", interval: 10 * SECOND_MS, step: forgetRows },
    {
      name: "unassign_numbers",
      interval: SECOND_MS,
      step: async () => (await store.unassignNumbers(STEP_NUMBERS)).isMore,
    },
    { name: "expire_messages", interval: SECOND_MS / 2, step: expireMessages },
    { name: "match_receipts", interval: SECOND_MS, step: matchReceipts },
    {
      name: "settle_receipt_timeouts",
      interval: Math.min(60 * SECOND_MS, window),
      step: settleReceiptTimeouts,
    },
  ];
  if (retention === 0) return always;
  const deletion = { name: "delete_old_messages", interval: Math.min(60 * SECOND_MS, retention) };
  return [...always, { ...deletion, step: forgetMessages }];
}
