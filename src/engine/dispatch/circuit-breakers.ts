import type { Carrier, SubmitAnswer } from "../../carriers/carrier.ts";
import { type CircuitBreaker, createCircuitBreaker } from "./circuit-breaker.ts";

/** The circuit breaker of each carrier, those that are no longer configured included. */
export type CircuitBreakers = {
  /** Messages that each carrier accepts now, at most `max`. */
  readonly budgets: (max: number) => ReadonlyMap<string, number>;
  /** Messages that one carrier accepts now. */
  readonly budget: (carrier: string) => number;
  /** Milliseconds until a carrier has a budget; Infinity: not before it answers. */
  readonly opensInMs: (carrier: string) => number;
  /** Records submits, and gives their generation for `recordAnswer`. */
  readonly recordSubmits: (carrier: string, count: number) => number;
  readonly recordAnswer: (carrier: string, answer: SubmitAnswer, generation: number) => void;
};

/** Creates closed breakers. `random` gives numbers from 0 to 1, 1 excluded. */
export function createCircuitBreakers(carriers: ReadonlyMap<string, Carrier>, random: () => number): CircuitBreakers {
  const breakers = new Map<string, CircuitBreaker>();
  // A monotonic clock, so that a change of the time of day does not stretch a pause.
  const monotonic = () => performance.now();

  const of = (carrier: string): CircuitBreaker => {
    const breaker = breakers.get(carrier) ?? createCircuitBreaker(carriers.get(carrier)?.window ?? 1, random);
    breakers.set(carrier, breaker);
    return breaker;
  };
  const budget = (carrier: string) => of(carrier).budget(monotonic());

  return {
    budgets: (max) => {
      const names = new Set([...carriers.keys(), ...breakers.keys()]);
      return new Map([...names].map((carrier) => [carrier, Math.min(max, budget(carrier))]));
    },
    budget,
    opensInMs: (carrier) => {
      const now = monotonic();
      return of(carrier).opensAt(now) - now;
    },
    recordSubmits: (carrier, count) => of(carrier).recordSubmits(count, monotonic()),
    recordAnswer: (carrier, answer, generation) => of(carrier).recordAnswer(answer, monotonic(), generation),
  };
}
