import type { QueuedNumber } from "../../store/queues.ts";
import type { Store } from "../../store/store.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Pools } from "../pools/pools.ts";

/** The parts of a queue scan. */
export type QueueScanParts = {
  readonly store: Store;
  readonly pools: Pools;
  readonly log: Log;
  /** Takes the queues of one page. */
  readonly onFound: (queues: readonly QueuedNumber[]) => void;
};

/** Repeated scan of all queues, for those that other processes or a crash left. */
export type QueueScan = {
  /** Resolves after the first page; the scan goes on in the background. */
  readonly start: () => Promise<void>;
  /** Begins at the first page again, at once. */
  readonly restart: () => void;
  readonly stop: () => void;
};

/** The interval between two scans. */
const SCAN_INTERVAL_MS = 5_000;
/** Queues read at once, and the pause between two reads, so that sends are not delayed. */
const PAGE_ROWS = 500;
const PAGE_PAUSE_MS = 10;

/** Creates a scan that is not running. */
export function createQueueScan({ store, pools, log, onFound }: QueueScanParts): QueueScan {
  let timer: NodeJS.Timeout | undefined;
  let isRunning = false;

  const scan = async (after?: string, current = pools.startQueueScan()) => {
    let next: string | undefined;
    try {
      const page = await store.listQueues(PAGE_ROWS, after);
      for (const { phoneNumberId } of page) current.foundQueue(phoneNumberId);
      if (page.length === PAGE_ROWS) next = page.at(-1)?.phoneNumberId;
      else current.finish();
      onFound(page);
    } catch (error) {
      log.error({ event: "queue_scan_failed", err: error }, "queue scan failed, retrying");
    }
    // A restart may have begun another scan meanwhile; only one goes on.
    clearTimeout(timer);
    if (!isRunning) return;
    timer =
      next === undefined
        ? setTimeout(() => void scan(), SCAN_INTERVAL_MS)
        : setTimeout(() => void scan(next, current), PAGE_PAUSE_MS);
  };

  return {
    start: () => {
      isRunning = true;
      return scan();
    },
    restart: () => {
      if (!isRunning) return;
      clearTimeout(timer);
      void scan();
    },
    stop: () => {
      isRunning = false;
      clearTimeout(timer);
    },
  };
}
