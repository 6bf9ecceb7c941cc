import type { Store } from "../../store/store.ts";
import type { Log } from "../../telemetry/log.ts";

/** The parts of the count of unreachable numbers. */
export type UnreachableNumbersParts = {
  readonly store: Store;
  readonly log: Log;
  /** The names of the configured carriers. */
  readonly carriers: readonly string[];
  /** Takes the counts of numbers whose carrier is not configured, by carrier. */
  readonly observe: (numbers: ReadonlyMap<string, number>) => void;
};

/**
 * Creates a function that counts the numbers whose carrier is not configured, and logs the counts
 * when they change.
 */
export function createUnreachableCount({
  store,
  log,
  carriers,
  observe,
}: UnreachableNumbersParts): () => Promise<void> {
  let logged = "";
  return async () => {
    const numbers = await store.countUnreachable(carriers);
    observe(numbers);
    const counts = JSON.stringify([...numbers]);
    if (counts !== logged) {
      for (const [carrier, count] of numbers) {
        log.warn(
          { event: "carrier_unavailable", carrier, numbers: count },
          "carrier of registered numbers not configured",
        );
      }
    }
    logged = counts;
  };
}
