import type { Registry } from "prom-client";
import { addGauge } from "./metric-table.ts";

/** What the gauges read at each scrape. */
export type GaugeSources = {
  /** The number of queued messages, and the id of the one that was accepted first. */
  readonly measureQueue: () => Promise<{ readonly messages: number; readonly oldestId: string | undefined }>;
  /** The number of numbers that pools in memory exclude as unhealthy. */
  readonly countUnhealthy: () => number;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
};

/** A carrier, as far as its gauge reads it. */
export type CarrierSource = { readonly name: string; readonly state: () => { readonly kind: string } };

/** Adds the gauges of queues and health. */
export function addGauges(registry: Registry, { measureQueue, countUnhealthy, clock }: GaugeSources): void {
  // Both gauges of queues are collected at the same time, from one measurement.
  let measuring: ReturnType<GaugeSources["measureQueue"]> | undefined;
  const measure = () => {
    measuring ??= measureQueue().finally(() => {
      measuring = undefined;
    });
    return measuring;
  };
  addGauge(registry, "queuedMessages", async (gauge) => gauge.set((await measure()).messages));
  addGauge(registry, "oldestQueuedSeconds", async (gauge) => {
    const { oldestId } = await measure();
    gauge.set(oldestId === undefined ? 0 : Math.max(0, (clock() - timeOf(oldestId)) / 1000));
  });
  addGauge(registry, "unhealthyNumbers", (gauge) => gauge.set(countUnhealthy()));
}

/** Adds the gauge of the carriers' states. */
export function addCarrierGauge(registry: Registry, carriers: Iterable<CarrierSource>): void {
  addGauge(registry, "carrierConnected", (gauge) => {
    for (const { name, state } of carriers) gauge.set({ carrier: name }, state().kind === "connected" ? 1 : 0);
  });
}

/** The time in an id, milliseconds since 1970: a UUID of version 7 begins with it. */
function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
