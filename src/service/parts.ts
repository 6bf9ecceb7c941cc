import type { Ids } from "../domain/ids.ts";
import type { Engine } from "../engine/engine.ts";
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
  readonly engine: Pick<Engine, "accept" | "report" | "delivery">;
};
