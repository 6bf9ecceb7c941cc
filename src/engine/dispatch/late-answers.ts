import type { SubmitAnswer } from "../../carriers/carrier.ts";
import type { CarrierReport } from "../../domain/carrier-report.ts";
import type { QueuedMessage } from "../../domain/message.ts";
import type { Log } from "../../telemetry/log.ts";

/** A submit that timed out: its message, and which submit of the message it was. */
export type LateSubmit = Pick<QueuedMessage, "organizationId" | "id" | "carrier" | "submits">;

/** Reports the answers to submits that timed out, however late they arrive. */
export type LateAnswers = {
  readonly expect: (submit: LateSubmit, answer: Promise<SubmitAnswer>) => void;
};

export type LateAnswersParts = {
  readonly report: (report: CarrierReport) => Promise<unknown>;
  readonly clock: () => number;
  readonly log: Log;
  /** The most submits whose answers are expected; beyond it the oldest is forgotten. */
  readonly limit?: number;
};

/** A few megabytes. The breaker of a silent carrier opens after ten submits, so this takes hours. */
const MAX_EXPECTED = 10_000;

/** Creates the list of late answers. Neither a drain nor the circuit breaker waits for them. */
export function createLateAnswers({ report, clock, log, limit = MAX_EXPECTED }: LateAnswersParts): LateAnswers {
  const expected = new Map<string, LateSubmit>();
  return {
    expect: (submit, answer) => {
      const key = `${submit.id} ${submit.submits}`;
      expected.set(key, submit);
      const [oldest] = expected.keys();
      if (expected.size > limit && oldest !== undefined) expected.delete(oldest);
      void answer.then((lateAnswer) => {
        const late = expected.get(key);
        if (!expected.delete(key) || late === undefined) {
          log.warn({ event: "late_answer_dropped", message_id: key.split(" ")[0] }, "late answer dropped");
          return;
        }
        // The connection was closed: there is no answer.
        if (lateAnswer.kind === "submit_unconfirmed") return;
        const { organizationId, id: messageId, carrier, submits } = late;
        void report({
          target: { organizationId, messageId },
          carrier,
          report: reportOf(lateAnswer, clock()),
          submit: submits,
        });
      });
    },
  };
}

/** A temporary refusal is not retried: the message is final already. See `planReport`. */
function reportOf(answer: Exclude<SubmitAnswer, { kind: "submit_unconfirmed" }>, at: number): CarrierReport["report"] {
  if (answer.kind === "accepted" || answer.kind === "refused") return { ...answer, at };
  return { kind: "deferred", at, carrierCode: answer.carrierCode, retryAt: at };
}
