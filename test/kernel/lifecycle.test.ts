import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { HealthChange } from "../../src/domain/health.ts";
import { apply, type Progress, type Report } from "../../src/domain/lifecycle.ts";
import { NOON } from "./pool-builder.ts";

const SENDING: Progress = { status: "sending", sentAt: undefined, completedAt: undefined, error: undefined };

const accepted: Report = { kind: "accepted", at: NOON + 1, carrierMessageId: "7" };
const submitUnconfirmed: Report = { kind: "submit_unconfirmed", at: NOON + 60_000 };
const deferred: Report = { kind: "deferred", at: NOON + 1, carrierCode: "3", retryAt: NOON + 1001 };
const delivered: Report = { kind: "delivered", at: NOON + 300 };
const failed = (reason: ErrorReason): Report => ({
  kind: "failed",
  at: NOON + 200,
  error: { reason, detail: "said the carrier" },
  carrierCode: "1",
});
const refused = (reason: ErrorReason): Report => ({
  kind: "refused",
  at: NOON + 1,
  error: { reason, detail: "said the carrier" },
  carrierCode: "2",
});

const SPAM = ErrorReason.BLOCKED_AS_SPAM_TEMPORARY;
const SENDER = ErrorReason.UNDELIVERABLE;
const RECIPIENT = ErrorReason.INVALID_MESSAGING_DESTINATION;

/**
 * The joint effect of reports: the final message, the changes of health, and how often it became
 * reported.
 */
function story(reports: readonly Report[]) {
  let progress = SENDING;
  let reported = 0;
  const health = { delivered: 0, failed: 0, spam: 0, inbound: 0 };
  for (const report of reports) {
    const effect = apply(progress, report);
    progress = effect.progress ?? progress;
    reported += effect.reported;
    for (const what of ["delivered", "failed", "spam", "inbound"] as const) health[what] += effect.health?.[what] ?? 0;
  }
  return { progress, health, reported };
}

function* orders<Item>(items: readonly Item[]): Generator<Item[]> {
  if (items.length === 0) yield [];
  for (const [index, item] of items.entries()) {
    for (const rest of orders(items.toSpliced(index, 1))) yield [item, ...rest];
  }
}

const learned = (change: Partial<HealthChange>) => ({ delivered: 0, failed: 0, spam: 0, inbound: 0, ...change });

/**
 * Reports that arrive for one message, and the expected result. A carrier gives only one of its two
 * answers.
 */
const CASES: readonly [string, readonly Report[], string, Partial<HealthChange>][] = [
  ["taken", [accepted], "sent", {}],
  ["never answered", [submitUnconfirmed], "delivery_unconfirmed", {}],
  ["answered too late", [submitUnconfirmed, accepted], "delivery_unconfirmed", {}],
  ["delivered", [accepted, delivered], "delivered", { delivered: 1 }],
  ["never answered, yet delivered", [submitUnconfirmed, delivered], "delivered", { delivered: 1 }],
  ["answered too late, and delivered", [submitUnconfirmed, accepted, delivered], "delivered", { delivered: 1 }],
  ["failed by the sender's fault", [accepted, failed(SENDER)], "delivery_failed", { failed: 1 }],
  ["blocked as spam", [accepted, failed(SPAM)], "delivery_failed", { failed: 1, spam: 1 }],
  [
    "blocked as spam for good",
    [accepted, failed(ErrorReason.BLOCKED_AS_SPAM_PERMANENT)],
    "delivery_failed",
    { failed: 1, spam: 1 },
  ],
  ["failed by the recipient's fault", [accepted, failed(RECIPIENT)], "delivery_failed", {}],
  ["answered too late, and failed", [submitUnconfirmed, accepted, failed(SENDER)], "delivery_failed", { failed: 1 }],
  ["failed first, then delivered after all", [accepted, failed(SENDER), delivered], "delivered", { delivered: 1 }],
  ["blocked first, then delivered after all", [accepted, failed(SPAM), delivered], "delivered", { delivered: 1 }],
  ["all that can be", [submitUnconfirmed, accepted, failed(SPAM), delivered], "delivered", { delivered: 1 }],
  ["put off", [deferred], "queued", {}],
  ["put off, then delivered", [deferred, accepted, delivered], "delivered", { delivered: 1 }],
  ["put off, then refused", [deferred, refused(SENDER)], "sending_failed", { failed: 1 }],
  ["put off, then never answered", [deferred, submitUnconfirmed], "delivery_unconfirmed", {}],
  ["refused for the sender's sake", [refused(ErrorReason.INVALID_MESSAGING_SOURCE)], "sending_failed", { failed: 1 }],
  ["refused as spam", [refused(SPAM)], "sending_failed", { failed: 1, spam: 1 }],
  ["refused too late", [submitUnconfirmed, refused(SENDER)], "sending_failed", { failed: 1 }],
  ["refused too late, yet delivered", [submitUnconfirmed, refused(SPAM), delivered], "delivered", { delivered: 1 }],
  ["refused for the content", [refused(ErrorReason.INVALID_MESSAGE_BODY)], "sending_failed", {}],
];

describe("Reports", () => {
  it.each(CASES)(
    "that say %s come to one end, whatever their order and however often each comes",
    (_, reports, status, health) => {
      const reported = status === "sent" || status === "queued" ? 0 : 1;
      for (const one of reports) {
        for (const other of reports) {
          for (const order of orders([...reports, one, other])) {
            const end = story(order);
            expect([end.progress.status, end.health, end.reported]).toEqual([status, learned(health), reported]);
            if (reports.includes(accepted)) expect(end.progress.sentAt).toBe(accepted.at);
          }
        }
      }
    },
  );

  it("leave the error of the final status only", () => {
    expect(story([accepted, failed(SENDER)]).progress.error?.reason).toBe(SENDER);
    expect(story([submitUnconfirmed]).progress.error?.reason).toBe(ErrorReason.RECEIPT_MISSING);
    expect(story([submitUnconfirmed, failed(SENDER)]).progress.error?.reason).toBe(SENDER);
    expect(story([submitUnconfirmed, delivered]).progress.error).toBeUndefined();
    for (const order of orders([accepted, failed(SENDER), delivered])) {
      expect(story(order).progress).toMatchObject({ error: undefined, completedAt: delivered.at });
    }
  });

  it("change nothing when repeated or weaker", () => {
    const last = story([accepted, delivered]).progress;
    for (const report of [accepted, { ...delivered, at: NOON + 999 }, failed(SPAM), submitUnconfirmed, refused(SPAM)]) {
      expect(apply(last, report)).toEqual({ progress: undefined, health: undefined, reported: 0 });
    }
    const sent = story([accepted]).progress;
    expect(apply(sent, { ...accepted, at: NOON + 5 })).toEqual({ progress: undefined, health: undefined, reported: 0 });
  });

  it("count once, in any order and number", () => {
    const possible = [accepted, submitUnconfirmed, delivered, failed(SPAM)];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...possible), { minLength: 1, maxLength: 12 }), (reports) => {
        const once = story(possible.filter((report) => reports.includes(report)));
        const end = story(reports);
        expect(end.progress.status).toBe(once.progress.status);
        expect(end.health).toEqual(once.health);
        expect(end.reported).toBe(once.reported);
      }),
      { numRuns: 1000 },
    );
  });

  it("correct a final status when they are stronger, and reverse its effect on health", () => {
    const { progress } = story([accepted, failed(SPAM)]);
    const effect = apply(progress, delivered);
    expect(effect.progress?.status).toBe("delivered");
    expect(effect.health).toEqual({ delivered: 1, failed: -1, spam: -1, inbound: 0 });
    expect(effect.reported).toBe(0);
  });

  it("that defer a message requeue it only while it is being sent", () => {
    expect(apply(SENDING, deferred)).toEqual({
      progress: { ...SENDING, status: "queued" },
      health: undefined,
      reported: 0,
    });
    for (const status of ["queued", "sent", "delivered", "delivery_failed", "cancelled", "expired"] as const) {
      expect(apply({ ...SENDING, status }, deferred).progress).toBeUndefined();
    }
  });

  it("change even a message that expired or was cancelled", () => {
    for (const status of ["expired", "cancelled", "delivery_unconfirmed"] as const) {
      const effect = apply({ ...SENDING, status, completedAt: NOON }, delivered);
      expect(effect).toMatchObject({
        progress: { status: "delivered" },
        health: learned({ delivered: 1 }),
        reported: 0,
      });
    }
  });
});

describe("The moment a message was sent", () => {
  it("is when the carrier accepted it", () => {
    expect(story([accepted]).progress).toMatchObject({ sentAt: accepted.at, completedAt: undefined });
    expect(story([accepted, delivered]).progress).toMatchObject({ sentAt: accepted.at, completedAt: delivered.at });
    expect(story([refused(SENDER)]).progress).toMatchObject({ sentAt: undefined, completedAt: NOON + 1 });
  });

  it("comes from an answer that arrives too late", () => {
    expect(story([submitUnconfirmed]).progress.sentAt).toBeUndefined();
    expect(story([submitUnconfirmed, accepted]).progress).toMatchObject({
      sentAt: accepted.at,
      completedAt: submitUnconfirmed.at,
    });
  });

  it("changes the error of a message whose answer arrives too late", () => {
    expect(story([submitUnconfirmed]).progress.error?.detail).toContain("unknown whether the message left");
    expect(story([submitUnconfirmed, accepted]).progress.error).toMatchObject({
      reason: ErrorReason.RECEIPT_MISSING,
      detail: expect.stringContaining("The carrier accepted the message, but no receipt arrived"),
    });
    const silent = story([accepted, { kind: "receipt_timeout", at: NOON + 90_000 }]).progress;
    expect(apply(silent, refused(SPAM)).progress).toBeUndefined();
  });

  it("is not after its receipt when the receipt arrives before the answer", () => {
    const answered = { ...accepted, at: delivered.at + 50 };
    expect(story([delivered, answered]).progress.sentAt).toBe(delivered.at);
  });

  it("comes from an answer that is booked after the receipt", () => {
    for (const order of orders([accepted, delivered])) expect(story(order).progress.sentAt).toBe(accepted.at);
  });
});
