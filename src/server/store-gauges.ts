import { Gauge, type Registry } from "prom-client";
import type { Pools } from "../engine/pools/pools.ts";
import type { Store } from "../store/store.ts";

/** Adds the gauges that are read at each scrape. */
export function addStoreGauges(registry: Registry, store: Store, pools: Pools, clock: () => number): void {
  const registers = [registry];
  // Both gauges are collected at the same time, from one measurement of the queues.
  let measuring: ReturnType<Store["measureQueue"]> | undefined;
  const measure = () => {
    measuring ??= store.measureQueue().finally(() => {
      measuring = undefined;
    });
    return measuring;
  };
  new Gauge({
    name: "numberpool_queued_messages",
    help: "Messages in queues.",
    registers,
    async collect() {
      this.set((await measure()).messages);
    },
  });
  new Gauge({
    name: "numberpool_oldest_queued_seconds",
    help: "Age of the oldest queued message.",
    registers,
    async collect() {
      const { oldestId } = await measure();
      this.set(oldestId === undefined ? 0 : Math.max(0, (clock() - timeOf(oldestId)) / 1000));
    },
  });
  new Gauge({
    name: "numberpool_unhealthy_numbers",
    help: "Numbers that pools in memory exclude as unhealthy.",
    registers,
    collect() {
      this.set(pools.countUnhealthy());
    },
  });
}

/** The time in an id, milliseconds since 1970: a UUID of version 7 begins with it. */
function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
