import { expect, it } from "vitest";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { AppliedReport, CarrierReport } from "../../../src/domain/carrier-report.ts";
import { addOutcome, NO_EVIDENCE } from "../../../src/domain/health.ts";
import { apply, type Progress, type Report } from "../../../src/domain/lifecycle.ts";
import type { QueuedMessage } from "../../../src/domain/message.ts";
import {
  aMessage,
  aNumber,
  BLOCKED_AS_SPAM,
  expectHealth,
  FAILED_BY_SENDER,
  NOON,
  storeProfile,
  write,
} from "./records.ts";
import type { Subject } from "./subject.ts";

type Kind = Report["kind"];

const ANSWER = { reason: ErrorReason.REJECTED_BY_DESTINATION, detail: "No." };
const REPORTS = {
  accepted: { kind: "accepted", at: NOON + 1, carrierMessageId: "" },
  deferred: { kind: "deferred", at: NOON + 1, carrierCode: "088", retryAt: NOON + 1_001 },
  refused: { kind: "refused", at: NOON + 1, carrierCode: "1", error: ANSWER },
  buffered: { kind: "buffered", at: NOON + 100 },
  failed: { kind: "failed", at: NOON + 200, carrierCode: "011", error: FAILED_BY_SENDER },
  spam: { kind: "failed", at: NOON + 200, carrierCode: "012", error: BLOCKED_AS_SPAM },
  delivered: { kind: "delivered", at: NOON + 300 },
  submit_unconfirmed: { kind: "submit_unconfirmed", at: NOON + 60_000 },
  receipt_timeout: { kind: "receipt_timeout", at: NOON + 90_000 },
} as const satisfies Record<string, Report>;

const RECEIPTS: ReadonlySet<Kind> = new Set(["buffered", "failed", "delivered"]);

/** Reports that can occur for one message. Of a carrier's two answers only one can occur. */
const STORIES: readonly (readonly (keyof typeof REPORTS)[])[] = [
  ["accepted", "buffered", "delivered", "delivered", "delivered"],
  ["accepted", "submit_unconfirmed", "buffered", "failed", "delivered", "delivered"],
  ["accepted", "receipt_timeout", "buffered", "spam", "spam", "delivered"],
  ["accepted", "submit_unconfirmed", "receipt_timeout", "spam", "buffered"],
  ["accepted", "submit_unconfirmed", "receipt_timeout", "failed", "failed"],
  ["accepted", "accepted", "buffered", "receipt_timeout", "buffered"],
  ["deferred", "accepted", "buffered", "delivered", "receipt_timeout"],
  ["deferred", "refused"],
  ["deferred", "submit_unconfirmed"],
  ["submit_unconfirmed", "delivered", "buffered"],
];
/** Each is its own message: enough for every order, and one transaction of a second at most. */
const MAX_ORDERS = 720;

/** Whatever the order and the ids of its reports, a message has one final state. */
export function orders(subject: Subject): void {
  it.each(STORIES)("%s, %s, %s, %s, %s, %s", async (...given) => {
    const story = given.filter((name) => name !== undefined);
    const profile = await storeProfile(subject().store);
    const { organizationId } = profile;
    const tried = permutations(story).slice(0, MAX_ORDERS);
    const numbers = tried.map(() => aNumber(profile));
    await subject().store.insertNumbers(numbers);
    const messages = numbers.map((number) => aMessage(number, { status: "sending" }));
    await write(subject().store, { messages });

    // One message gets a receipt by its own id, the next by the carrier's, in every combination.
    const reportOf = (message: QueuedMessage, index: number, order: readonly Step[], step: number): CarrierReport => {
      const { name, place } = order[step] as Step;
      const carrierMessageId = `c${index}x`;
      const report: Report = name === "accepted" ? { ...REPORTS.accepted, carrierMessageId } : REPORTS[name];
      const byCarrier = RECEIPTS.has(report.kind) && ((index >> (place % 4)) & 1) === 1;
      const target = byCarrier
        ? { carrier: message.carrier, carrierMessageId }
        : { organizationId, messageId: message.id };
      return { target, report };
    };
    const all: AppliedReport[][] = messages.map(() => []);
    for (const step of story.keys()) {
      const store = step === story.length >> 1 ? await subject().reopen() : current(subject);
      const reports = messages.map((message, index) => reportOf(message, index, tried[index] as Step[], step));
      (await store.applyReports(reports)).forEach((applied, index) => {
        (all[index] as AppliedReport[]).push(applied, ...applied.followed);
      });
      latest.set(subject(), store);
    }

    const store = current(subject);
    for (const [index, message] of messages.entries()) {
      const order = tried[index] as Step[];
      const reports = story.map((_, step) => reportOf(message, index, order, step));
      // A receipt by an id that no answer contained belongs to no message.
      const arrives = ({ target }: CarrierReport) => "messageId" in target || story.includes("accepted");
      const expected = endOf(
        message,
        reports.filter(arrives).map(({ report }) => report),
      );
      const stored = await store.getMessage(organizationId, message.id);
      const { status, sentAt, completedAt, error } = expected.progress;
      expect(stored, order.map(({ name }) => name).join()).toMatchObject({ status, completedAt, error });
      if (story.includes("accepted")) expect(stored?.sentAt).toBe(sentAt);
      const row = await store.loadPoolNumber(message.phoneNumberId);
      expectHealth(row?.traffic.health, expected.health);
      const applied = (all[index] as AppliedReport[]).filter(({ messageId }) => messageId !== undefined);
      const sum = (of: "reported" | "queuedSegments") => applied.reduce((total, each) => total + each[of], 0);
      const isOpen = status === "queued" || status === "sent";
      expect([sum("reported"), row?.traffic.unreported]).toEqual(isOpen ? [0, 1] : [1, 0]);
      expect(sum("queuedSegments")).toBe(row?.traffic.queuedSegments);
    }
  });
}

/** A report of a history, by its position: a repeated one appears twice. */
type Step = { readonly name: keyof typeof REPORTS; readonly place: number };

/** The store that a subject opened last. */
const latest = new WeakMap<object, ReturnType<Subject>["store"]>();

function current(subject: Subject): ReturnType<Subject>["store"] {
  return latest.get(subject()) ?? subject().store;
}

/** The domain's result of the reports in the order of their moments. */
function endOf(message: QueuedMessage, reports: readonly Report[]) {
  let progress: Progress = message;
  let health = NO_EVIDENCE;
  for (const report of reports.toSorted((one, other) => one.at - other.at)) {
    const effect = apply(progress, report);
    progress = effect.progress ?? progress;
    if (effect.health !== undefined) health = addOutcome(health, effect.health, report.at);
  }
  return { progress, health };
}

function permutations(story: readonly Step["name"][]): Step[][] {
  const orders = (steps: readonly Step[]): Step[][] =>
    steps.length === 0
      ? [[]]
      : steps.flatMap((step, index) => orders(steps.toSpliced(index, 1)).map((rest) => [step, ...rest]));
  return orders(story.map((name, place) => ({ name, place })));
}
