import type { AppliedReport, CarrierReport } from "../domain/carrier-report.ts";
import type { Ids } from "../domain/ids.ts";
import type { DeliveryControl } from "../engine/delivery-hold.ts";
import type { Pools } from "../engine/pools/pools.ts";
import type { Store } from "../store/store.ts";

/** The dependencies of the service methods. */
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
  /** How long a sticky mapping lives after its last message. */
  readonly stickyLifetimeMs: number;
  /** Applies a carrier's report; resolves with its effect once that is on disk. */
  readonly report: (report: CarrierReport) => Promise<AppliedReport>;
  readonly delivery: DeliveryControl;
  /** Receives the segments added to each number's queue, by number id, once they are on disk. */
  readonly onAccepted: (segments: ReadonlyMap<string, number>) => void;
};
