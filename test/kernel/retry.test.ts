import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextSubmitAt } from "../../src/domain/retry.ts";
import { NOON, SECOND } from "./pool-builder.ts";

const TEN_MINUTES = 600 * SECOND;
const refusal = { refusals: 0, retryAfterMs: undefined, now: NOON, validUntil: NOON + 86_400 * SECOND, random: 0 };

describe("The time of the next submit after a temporary refusal", () => {
  it("starts at one second, doubles with each refusal, and stops at ten minutes", () => {
    const pauses = [0, 1, 2, 3, 9, 10, 400].map((refusals) => nextSubmitAt({ ...refusal, refusals }) - NOON);
    expect(pauses).toEqual([1, 2, 4, 8, 512, 600, 600].map((seconds) => seconds * SECOND));
  });

  it("adds up to a quarter of the pause, in whole milliseconds", () => {
    expect(nextSubmitAt({ ...refusal, random: 0.5 })).toBe(NOON + 1_125);
    expect(nextSubmitAt({ ...refusal, random: 0.999 })).toBe(NOON + 1_250);
    expect(nextSubmitAt({ ...refusal, refusals: 20, random: 0.5 })).toBe(NOON + 1.125 * TEN_MINUTES);
  });

  it("is the carrier's own when it names one, without jitter", () => {
    expect(nextSubmitAt({ ...refusal, refusals: 5, retryAfterMs: 1_700, random: 0.5 })).toBe(NOON + 1_700);
    expect(nextSubmitAt({ ...refusal, retryAfterMs: 0, random: 0.5 })).toBe(NOON);
  });

  it("is never past the end of the message's validity, and never in the past", () => {
    fc.assert(
      fc.property(
        fc.nat(30),
        fc.option(fc.nat(TEN_MINUTES), { nil: undefined }),
        fc.integer({ min: -TEN_MINUTES, max: TEN_MINUTES }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (refusals, retryAfterMs, validForMs, random) => {
          const at = nextSubmitAt({ refusals, retryAfterMs, now: NOON, validUntil: NOON + validForMs, random });
          expect(at).toBeGreaterThanOrEqual(NOON);
          expect(at).toBeLessThanOrEqual(Math.max(NOON, NOON + validForMs));
        },
      ),
    );
  });
});
