import { Gauge, type Registry } from "prom-client";
import type { Carrier } from "../carriers/carrier.ts";

/** Adds a gauge of the carriers' states, which is read at each scrape. */
export function addCarrierGauge(registry: Registry, carriers: Iterable<Carrier>): void {
  new Gauge({
    name: "numberpool_carrier_connected",
    help: "Whether a carrier can take messages (1) or not (0), by carrier.",
    labelNames: ["carrier"],
    registers: [registry],
    collect() {
      for (const { name, state } of carriers) this.set({ carrier: name }, state().kind === "connected" ? 1 : 0);
    },
  });
}
