import type { AppliedReport, CarrierReport } from "../domain/carrier-report.ts";
import type { Ids } from "../domain/ids.ts";
import type { DeliveryControl } from "../engine/delivery-hold.ts";
import type { Pools } from "../engine/pools/pools.ts";
import type { Store } from "../store/store.ts";

/** What the methods are made from. */
export type ServiceParts = {
  readonly store: Store;
  readonly pools: Pools;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly ids: Ids;
  /** The names of the configured carriers, the default first. */
  readonly carriers: readonly string[];
  /** Whether several organizations may register one phone number. */
  readonly mayShareNumbers: boolean;
  /** How long a sticky mapping lives, milliseconds. */
  readonly stickyLifetimeMs: number;
  /** Takes what a carrier reports, and resolves with what it did when that is on disk. */
  readonly report: (report: CarrierReport) => Promise<AppliedReport>;
  /** Delivery of the whole installation. */
  readonly delivery: DeliveryControl;
  /** Told how many segments came into which numbers' queues, once they are on disk. */
  readonly onAccepted: (segments: ReadonlyMap<string, number>) => void;
};
