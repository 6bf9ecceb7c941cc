import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";

/** Whether delivery is held, and how to resume it. */
export type DeliveryControl = {
  /** The start of the hold, milliseconds since 1970; undefined: delivery is not held. */
  readonly heldSince: () => number | undefined;
  /** Ends the hold; resolves when that is on disk. */
  readonly resume: () => Promise<void>;
};

/** The hold of delivery that a restored backup starts with. */
export type DeliveryHold = DeliveryControl & {
  /** Reads the hold, and watches it while there is one. */
  readonly start: () => Promise<void>;
  readonly stop: () => void;
};

/** The interval between reads of the hold of delivery, while there is one. */
const HOLD_POLL_MS = 1_000;

/** Creates a hold that is not read yet. `onResumed` runs when the hold ends. */
export function createDeliveryHold(store: Store, log: Log, onResumed: () => void): DeliveryHold {
  let heldSince: number | undefined;
  let polling: NodeJS.Timeout | undefined;

  const end = () => {
    if (heldSince === undefined) return;
    heldSince = undefined;
    clearInterval(polling);
    log.warn({ event: "delivery_resumed" }, "delivery resumed");
    onResumed();
  };

  /** Another process on the same database may resume delivery. */
  const poll = async () => {
    try {
      if ((await store.readDeliveryHold()) === undefined) end();
    } catch (error) {
      log.error({ event: "delivery_hold_read_failed", err: error }, "delivery hold read failed, retrying");
    }
  };

  return {
    heldSince: () => heldSince,
    resume: async () => {
      await store.endDeliveryHold();
      end();
    },
    start: async () => {
      heldSince = await store.readDeliveryHold();
      if (heldSince === undefined) return;
      log.warn(
        { event: "delivery_held", held_since: new Date(heldSince).toISOString() },
        "delivery held: the database is a backup; sends wait until `numberpool delivery resume`",
      );
      polling = setInterval(poll, HOLD_POLL_MS);
    },
    stop: () => clearInterval(polling),
  };
}
