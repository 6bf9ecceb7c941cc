import type { Carrier, SubmitAnswer } from "../../carriers/carrier.ts";
import type { Report } from "../../domain/lifecycle.ts";
import type { QueuedMessage } from "../../domain/message.ts";
import { nextSubmitAt } from "../../domain/retry.ts";
import type { Log } from "../../telemetry/log.ts";
import { traceSubmit } from "../../telemetry/message-spans.ts";
import type { Reporter } from "../reports/reporter.ts";
import type { CircuitBreakers } from "./circuit-breakers.ts";
import type { LateAnswers } from "./late-answers.ts";

/** The parts of a hand-over. */
export type HandOverParts = {
  readonly carriers: ReadonlyMap<string, Carrier>;
  readonly breakers: CircuitBreakers;
  readonly lateAnswers: LateAnswers;
  readonly report: Reporter["report"];
  readonly clock: () => number;
  readonly random: () => number;
  readonly log: Log;
  /** The wait for an answer to a submit; after it the submit counts as unconfirmed. */
  readonly submitTimeoutMs: number;
};

/** The submits of claimed messages to their carriers. */
export type HandOver = {
  /**
   * Submits a message and stores the answer. Resolves with when its queue is due again; undefined:
   * the message is not submitted again.
   */
  readonly submit: (message: QueuedMessage, generation: number) => Promise<number | undefined>;
  /** Messages whose answers are not stored yet. */
  readonly underWay: () => string[];
  /** Resolves when the answers of the messages under way are stored, or after so many milliseconds. */
  readonly settle: (withinMs: number) => Promise<void>;
};

/** Messages of a carrier that is not configured wait until it is, or until their valid_until. */
const NOT_CONFIGURED: SubmitAnswer = { kind: "unavailable", carrierCode: "carrier not configured" };

/** Creates a hand-over with no message under way. */
export function createHandOver(parts: HandOverParts): HandOver {
  const { breakers, carriers, clock, random } = parts;
  const underWay = new Map<string, Promise<unknown>>();

  const submitAndReport = async (message: QueuedMessage, generation: number) => {
    const { organizationId, id: messageId, carrier, submits } = message;
    const answer = await traceSubmit(message, () => submitWithTimeout(carriers.get(carrier), message, parts));
    breakers.recordAnswer(carrier, answer, generation);
    const report = reportOf(answer, message, clock(), random);
    const target = { organizationId, messageId };
    const applied = await parts.report({ target, carrier, report, submit: submits });
    return { report, isStored: applied.messageId !== undefined };
  };

  return {
    submit: async (message, generation) => {
      const work = submitAndReport(message, generation);
      underWay.set(message.id, work);
      const { report, isStored } = await work;
      // A deferred message may be under way again. An answer that is not on disk is not settled:
      // its message must not be requeued.
      if (isStored && underWay.get(message.id) === work) underWay.delete(message.id);
      return report.kind === "deferred" ? report.retryAt : undefined;
    },
    underWay: () => [...underWay.keys()],
    settle: async (withinMs) => {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise((resolve) => {
        timer = setTimeout(resolve, withinMs);
      });
      await Promise.race([Promise.all(underWay.values()), timeout]);
      clearTimeout(timer);
    },
  };
}

/** The carrier's answer. One that comes after the timeout is reported by `lateAnswers`. */
async function submitWithTimeout(
  carrier: Carrier | undefined,
  message: QueuedMessage,
  { lateAnswers, log, submitTimeoutMs }: HandOverParts,
): Promise<SubmitAnswer> {
  if (carrier === undefined) return NOT_CONFIGURED;
  const { organizationId, id: messageId, submits, from, to, text, encoding, parts: segments } = message;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<SubmitAnswer>((resolve) => {
    timer = setTimeout(() => {
      resolve({ kind: "submit_unconfirmed" });
      lateAnswers.expect({ organizationId, id: messageId, carrier: carrier.name, submits }, answer);
    }, submitTimeoutMs);
  });
  const submit = async () => carrier.submit({ messageId, from, to, text, encoding, parts: segments });
  const answer = submit().catch((error) => {
    log.error({ event: "submit_failed", message_id: messageId, carrier: carrier.name, err: error }, "submit failed");
    return { kind: "submit_unconfirmed" } as const;
  });
  return Promise.race([answer, timeout]).finally(() => clearTimeout(timer));
}

function reportOf(answer: SubmitAnswer, message: QueuedMessage, at: number, random: () => number): Report {
  if (answer.kind === "accepted" || answer.kind === "refused" || answer.kind === "submit_unconfirmed")
    return { ...answer, at };
  const { carrierCode } = answer;
  // The circuit breaker spaces out the submits to a carrier that accepts nothing.
  const refusals = answer.kind === "deferred" ? message.submits - 1 : 0;
  const retryAfterMs = "retryAfterMs" in answer ? answer.retryAfterMs : undefined;
  const { validUntil } = message;
  const retryAt = nextSubmitAt({ refusals, retryAfterMs, now: at, validUntil, random: random() });
  return { kind: "deferred", at, carrierCode, retryAt };
}
