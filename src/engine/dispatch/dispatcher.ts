import type { Carrier } from "../../carriers/carrier.ts";
import type { Store } from "../../store/store.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Pools } from "../pools/pools.ts";
import type { Reporter } from "../reports/reporter.ts";
import type { Yielding } from "../yielding.ts";
import { createCircuitBreakers } from "./circuit-breakers.ts";
import { createClaimLoop } from "./claim-loop.ts";
import { createClaimSchedule } from "./claim-schedule.ts";
import { createHandOver } from "./hand-over.ts";
import { createLateAnswers } from "./late-answers.ts";
import { createQueueScan } from "./queue-scan.ts";

/** The parts of a dispatcher. */
export type DispatcherParts = {
  readonly store: Store;
  readonly pools: Pools;
  readonly carriers: ReadonlyMap<string, Carrier>;
  readonly reporter: Reporter;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** A number from 0 to 1, 1 excluded. */
  readonly random: () => number;
  readonly log: Log;
  readonly yieldAfter: Yielding["yieldAfter"];
  /** This process, as claimed messages name it. */
  readonly owner: string;
  /** The wait for an answer to a submit; after it the submit counts as unconfirmed. */
  readonly submitTimeoutMs: number;
  /** Whether delivery is held: then messages only expire. */
  readonly isDeliveryHeld: () => boolean;
};

/** Moves messages from their numbers' queues to the carriers, each number at its pace. */
export type Dispatcher = {
  /** Claims numbers that have new messages, as soon as their pace allows. */
  readonly wake: (phoneNumberIds: Iterable<string>) => void;
  readonly start: () => Promise<void>;
  /** Scans every queue after the hold of delivery ends. */
  readonly resume: () => void;
  /** Stops claims. Resolves when the answers of submits are stored, or after so many milliseconds. */
  readonly stop: (withinMs: number) => Promise<void>;
};

/** Creates a dispatcher that is not running. */
export function createDispatcher(parts: DispatcherParts): Dispatcher {
  const { store, carriers, reporter, clock, random, log } = parts;
  const breakers = createCircuitBreakers(carriers, random);
  const schedule = createClaimSchedule(breakers);
  const lateAnswers = createLateAnswers({ report: reporter.report, clock, log });
  const handOver = createHandOver({ ...parts, breakers, lateAnswers, report: reporter.report });
  let unwatch = () => {};

  // The stored queues give the moments anew.
  const startOver = () => {
    schedule.clear();
    scan.restart();
  };
  const loop = createClaimLoop({ ...parts, schedule, breakers, handOver, onClockStep: startOver });
  const scan = createQueueScan({
    ...parts,
    onFound: (queues) => {
      for (const queue of queues) schedule.addFound(queue);
      loop.plan();
    },
  });

  const wake = (phoneNumberIds: Iterable<string>) => {
    schedule.addWoken(phoneNumberIds, clock());
    loop.plan();
  };

  return {
    wake,
    start: async () => {
      // A number whose state or rate changed may be due at once.
      unwatch = store.watchConfiguration(async ({ kind, id }) => {
        if (kind !== "phone_number") return;
        schedule.forgetPace(id);
        wake([id]);
      });
      loop.start();
      await scan.start();
    },
    resume: startOver,
    stop: async (withinMs) => {
      scan.stop();
      unwatch();
      await loop.stop();
      await handOver.settle(withinMs);
    },
  };
}
