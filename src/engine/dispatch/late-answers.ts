import type { SubmitAnswer } from "../../carriers/carrier.ts";
import type { CarrierReport } from "../../domain/carrier-report.ts";
import type { QueuedMessage } from "../../domain/message.ts";
import type { Log } from "../../telemetry/log.ts";

/** A submit that was given up: its message, and which submit of the message it was. */
export type LateSubmit = Pick<QueuedMessage, "organizationId" | "id" | "carrier" | "submits">;

/** Books answers to submits that were given up, however late they come while the process lives. */
export type LateAnswers = {
  readonly expect: (submit: LateSubmit, answer: Promise<SubmitAnswer>) => void;
};

export type LateAnswersParts = {
  readonly report: (report: CarrierReport) => Promise<unknown>;
  readonly clock: () => number;
  readonly log: Log;
  /** Submits whose answers are still expected at most; beyond it the oldest is forgotten. */
  readonly most?: number;
};

/** A few megabytes. A carrier that answers nothing is left alone after ten submits, so that this takes hours. */
const MAX_EXPECTED = 10_000;

/** Late answers are reported as they come. Nobody waits for them, neither a drain nor the carrier's circuit breaker. */
export function createLateAnswers({ report, clock, log, most = MAX_EXPECTED }: LateAnswersParts): LateAnswers {
  const expected = new Map<string, LateSubmit>();
  return {
    expect: (submit, answer) => {
      const key = `${submit.id} ${submit.submits}`;
      expected.set(key, submit);
      const [oldest] = expected.keys();
      if (expected.size > most && oldest !== undefined) expected.delete(oldest);
      void answer.then((given) => {
        const late = expected.get(key);
        if (!expected.delete(key) || late === undefined) {
          log.warn({ event: "late_answer_dropped", message_id: key.split(" ")[0] }, "late answer dropped");
          return;
        }
        // The connection was closed: there is no answer.
        if (given.kind === "submit_unconfirmed") return;
        const { organizationId, id: messageId, carrier, submits } = late;
        void report({
          target: { organizationId, messageId },
          carrier,
          report: reportOf(given, clock()),
          submit: submits,
        });
      });
    },
  };
}

/** A temporary refusal is never tried again here: the message was shown as final. See `planReport`. */
function reportOf(answer: Exclude<SubmitAnswer, { kind: "submit_unconfirmed" }>, at: number): CarrierReport["report"] {
  if (answer.kind === "accepted" || answer.kind === "refused") return { ...answer, at };
  return { kind: "deferred", at, carrierCode: answer.carrierCode, retryAt: at };
}
