import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** A store that times its writing transactions by kind. */
export function timedStore(store: Store, timed: Metrics["timed"]): Store {
  return {
    ...store,
    accept: timed("accept", store.accept),
    claim: timed("claim", store.claim),
    applyReports: timed("reports", store.applyReports),
  };
}
