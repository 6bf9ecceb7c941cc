import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBlockedNumbers } from "../../src/engine/dispatch/blocked-numbers.ts";

const anyStep = fc.oneof(
  fc.record({ put: fc.constantFrom("a", "b", "c", "d", "e"), carrier: fc.constantFrom("one", "two") }),
  fc.record({
    take: fc.oneof(fc.nat(4), fc.constant(Number.POSITIVE_INFINITY)),
    carrier: fc.constantFrom("one", "two", "none"),
  }),
);

describe("Held numbers", () => {
  it("are taken once, carrier by carrier, in the order of blocking", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
        const held = createBlockedNumbers();
        const lists = new Map<string, string[]>();
        for (const step of steps) {
          const list = lists.get(step.carrier) ?? [];
          if ("put" in step) {
            held.put(step.carrier, step.put);
            if (!list.includes(step.put)) list.push(step.put);
          } else {
            const taken = list.splice(0, step.take);
            expect(held.take(step.carrier, step.take)).toEqual(taken);
          }
          lists.set(step.carrier, list);
          const waiting = [...lists].filter(([, numbers]) => numbers.length > 0).map(([carrier]) => carrier);
          expect([...held.carriers()].toSorted()).toEqual(waiting.toSorted());
        }
      }),
      { numRuns: 300 },
    );
  });

  it("may be put back during a scan", () => {
    const held = createBlockedNumbers();
    for (const carrier of ["one", "two"]) held.put(carrier, "a");
    let looked = 0;
    for (const carrier of held.carriers()) {
      for (const id of held.take(carrier, 5)) held.put(carrier, id);
      looked += 1;
    }
    expect(looked).toBe(2);
    expect(held.take("one", 5)).toEqual(["a"]);
  });
});
