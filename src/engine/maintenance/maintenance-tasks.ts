import { judge } from "../../domain/health.ts";
import { earliestId } from "../../domain/ids.ts";
import { IDEMPOTENCY_RETENTION_MS, RECEIPT_WINDOW_MS, RETRY_WINDOW_MS } from "../../domain/limits.ts";
import type { AssignedHealth } from "../../store/pool-rows.ts";
import type { Store } from "../../store/store.ts";
import type { Pools } from "../pools/pools.ts";
import type { MaintenanceTask } from "./maintenance.ts";

/** The ages at which maintenance acts on rows. */
export type MaintenanceSettings = {
  /** The longest wait for a receipt. */
  readonly receiptWindowMs: number;
  /** The age at which ended messages are deleted; 0: never. */
  readonly messageRetentionMs: number;
  readonly stickyLifetimeMs: number;
};

/** The parts of the maintenance tasks. */
export type MaintenanceParts = {
  readonly settings: MaintenanceSettings;
  readonly store: Store;
  readonly pools: Pools;
  readonly clock: () => number;
  /** Exchanges changes with the other processes. */
  readonly synchronize: () => Promise<unknown>;
  /** Counts the numbers whose carrier is not configured. */
  readonly countUnreachable: () => Promise<void>;
};

const SECOND_MS = 1_000;
// The sizes below keep each step at a few milliseconds.

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
export function maintenanceTasks(parts: MaintenanceParts): MaintenanceTask[] {
  const { settings, synchronize, countUnreachable } = parts;
  const { receiptWindowMs, messageRetentionMs } = settings;
  const tasks: MaintenanceTask[] = [
    { name: "heartbeat", intervalMs: SECOND_MS, step: once(synchronize) },
    { name: "find_unhealthy_numbers", intervalMs: SECOND_MS, step: findUnhealthyNumbers(parts) },
    { name: "count_unreachable_numbers", intervalMs: HEALTH_INTERVAL_MS, step: once(countUnreachable) },
    { name: "delete_outdated_rows", intervalMs: 10 * SECOND_MS, step: deleteOutdatedRows(parts) },
    { name: "unassign_numbers", intervalMs: SECOND_MS, step: unassignNumbers(parts) },
    { name: "expire_messages", intervalMs: SECOND_MS / 2, step: expireMessages(parts) },
    { name: "match_receipts", intervalMs: SECOND_MS, step: matchReceipts(parts) },
    {
      name: "settle_receipt_timeouts",
      intervalMs: Math.min(60 * SECOND_MS, receiptWindowMs),
      step: settleReceiptTimeouts(parts),
    },
  ];
  if (messageRetentionMs === 0) return tasks;
  const intervalMs = Math.min(60 * SECOND_MS, messageRetentionMs);
  return [...tasks, { name: "delete_old_messages", intervalMs, step: deleteOldMessages(parts) }];
}

type Step = MaintenanceTask["step"];

function once(work: () => Promise<unknown>): Step {
  return async () => {
    await work();
    return false;
  };
}

function deleteOutdatedRows({ settings, store, clock }: MaintenanceParts): Step {
  return async () => {
    const now = clock();
    const before = {
      keys: now - IDEMPOTENCY_RETENTION_MS,
      recentSends: now - RETRY_WINDOW_MS,
      stickyMappings: now - settings.stickyLifetimeMs,
      unmatchedReceipts: now - RECEIPT_WINDOW_MS,
    };
    return (await store.forget(before, STEP_ROWS)) >= STEP_ROWS;
  };
}

/** Unassigns the numbers of deleted profiles. */
function unassignNumbers({ store }: MaintenanceParts): Step {
  return async () => (await store.unassignNumbers(STEP_NUMBERS)).isMore;
}

function expireMessages({ store, pools, clock }: MaintenanceParts): Step {
  return async () => {
    const applied = await store.expireMessages(clock(), STEP_EXPIRED_MESSAGES);
    pools.book(applied);
    return applied.length === STEP_EXPIRED_MESSAGES;
  };
}

function matchReceipts({ store, pools, clock }: MaintenanceParts): Step {
  let cursor: string | undefined;
  return async () => {
    const { applied, next } = await store.matchReceipts({ now: clock(), after: cursor, limit: STEP_RECEIPTS });
    pools.book(applied);
    cursor = next;
    return next !== undefined;
  };
}

function settleReceiptTimeouts({ settings, store, pools, clock }: MaintenanceParts): Step {
  let cursor: string | undefined;
  return async () => {
    const now = clock();
    const request = { sentBefore: now - settings.receiptWindowMs, at: now, after: cursor, limit: STEP_SENT_MESSAGES };
    const { applied, next } = await store.settleReceiptTimeouts(request);
    pools.book(applied);
    cursor = next;
    return next !== undefined;
  };
}

/** Deletes the messages of one organization after the other. */
function deleteOldMessages({ settings, store, clock }: MaintenanceParts): Step {
  let organizations: string[] = [];
  let cursor: string | undefined;
  return async () => {
    if (organizations.length === 0) organizations = (await store.listOrganizations()).map(({ id }) => id);
    const organizationId = organizations[0];
    if (organizationId === undefined) return false;
    const before = earliestId(clock() - settings.messageRetentionMs);
    const request = { organizationId, before, after: cursor, limit: STEP_OLD_MESSAGES };
    const { next } = await store.forgetMessages(request);
    cursor = next;
    if (next === undefined) organizations.shift();
    return organizations.length > 0;
  };
}

/**
 * Loads the pools that have unhealthy numbers, so that metrics count them before any send. One pool
 * a step, so that calls are not delayed.
 */
function findUnhealthyNumbers({ store, pools, clock }: MaintenanceParts): Step {
  let cursor: string | undefined;
  let unhealthy: AssignedHealth[] = [];
  let scanAt = 0;
  const isLoaded = ({ organizationId, messagingProfileId }: AssignedHealth) =>
    pools.peek(organizationId, messagingProfileId) !== undefined;
  return async () => {
    unhealthy = unhealthy.filter((each) => !isLoaded(each));
    const pool = unhealthy.shift();
    if (pool !== undefined) {
      await pools.load(pool.organizationId, pool.messagingProfileId);
      return true;
    }
    if (cursor === undefined && performance.now() < scanAt) return false;
    const { rows, next } = await store.listHealth(STEP_HEALTH_ROWS, cursor);
    cursor = next;
    if (next === undefined) scanAt = performance.now() + HEALTH_INTERVAL_MS;
    const now = clock();
    unhealthy = rows.filter((row) => judge(row.health, now).standing === "unhealthy" && !isLoaded(row));
    return next !== undefined || unhealthy.length > 0;
  };
}
