import { closeSync, openSync, writeSync } from "node:fs";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { MessageError } from "../../domain/message.ts";
import type { Carrier, CarrierParts, CarrierType, Submission, SubmitAnswer } from "../carrier.ts";
import { type Script, scriptOf } from "./script.ts";
import { type SandboxSettings, sandboxSettings } from "./settings.ts";

/** The longest submit timeout: after it no caller waits for an answer that never comes. */
const MAX_SILENCE_MS = 3_600_000;
/** The burst under a rate limit, as a span of the rate. */
const BURST_MS = 100;
const WINDOW = 2_000;

/** The built-in carrier: it sends nothing, and answers as its settings and the recipients say. */
export const sandbox: CarrierType<typeof sandboxSettings> = { settings: sandboxSettings, open: openSandbox };

function openSandbox(parts: CarrierParts, settings: SandboxSettings): Carrier {
  const timers = createTimers();
  const deferred = new Set<string>();
  const pending = new Set<(answer: SubmitAnswer) => void>();
  const ledger = settings.ledger === undefined ? undefined : openSync(settings.ledger, "a", 0o600);
  const isThrottled = createThrottle(settings.segments_per_second, parts.clock);
  let submits = 0;

  const report = (carrierMessageId: string, { receipts }: Script) => {
    for (const error of receipts) {
      parts.onEvent(parts.name, { kind: "receipt", carrierMessageId, report: receiptOf(error, parts.clock()) });
    }
  };

  const record = ({ messageId }: Submission, carrierMessageId: string) => {
    if (ledger === undefined) return;
    const line = { at: parts.clock(), message_id: messageId, carrier_message_id: carrierMessageId };
    writeSync(ledger, `${JSON.stringify(line)}\n`);
  };

  const answerOf = (script: Script, { messageId }: Submission, carrierMessageId: string): SubmitAnswer => {
    if (script.submit === "refuse") {
      const error = { reason: ErrorReason.REJECTED_BY_DESTINATION, detail: "The sandbox refused the message." };
      return { kind: "refused", error, carrierCode: "rejected" };
    }
    if (script.submit === "deferOnce" && !deferred.delete(messageId)) {
      deferred.add(messageId);
      return { kind: "deferred", carrierCode: "busy", retryAfterMs: undefined };
    }
    return { kind: "accepted", carrierMessageId };
  };

  const submit = (submission: Submission, resolve: (answer: SubmitAnswer) => void) => {
    const behaviour = { ...settings, ...settings.numbers[submission.from] };
    const latencyMs = behaviour.latency_milliseconds;
    pending.add(resolve);
    submits += 1;
    const carrierMessageId = `${submission.messageId}-${submits}`;
    const answerAfterLatency = (answer: () => SubmitAnswer) =>
      timers.after(latencyMs, () => {
        pending.delete(resolve);
        resolve(answer());
      });
    if (isThrottled()) {
      answerAfterLatency(() => ({ kind: "throttled", carrierCode: "throttled", retryAfterMs: undefined }));
      return;
    }
    record(submission, carrierMessageId);
    const script = scriptOf(submission.to, behaviour, parts.random);
    if (script.submit === "silence") {
      timers.after(MAX_SILENCE_MS, () => pending.delete(resolve));
      return;
    }
    if (script.isEarly) timers.after(latencyMs / 2, () => report(carrierMessageId, script));
    answerAfterLatency(() => {
      const answer = answerOf(script, submission, carrierMessageId);
      if (answer.kind === "accepted" && !script.isEarly) {
        timers.after(behaviour.receipt_after_milliseconds, () => report(carrierMessageId, script));
      }
      return answer;
    });
  };

  return {
    name: parts.name,
    window: WINDOW,
    submit: (submission) => new Promise((resolve) => submit(submission, resolve)),
    state: () => ({ kind: "connected" }),
    close: async () => {
      timers.clear();
      for (const resolve of pending) resolve({ kind: "submit_unconfirmed" });
      if (ledger !== undefined) closeSync(ledger);
    },
  };
}

function receiptOf(error: MessageError | undefined, at: number) {
  if (error === undefined) return { kind: "delivered", at } as const;
  return { kind: "failed", at, error, carrierCode: String(error.reason) } as const;
}

/** Creates a function that decides for each submit whether it exceeds the rate and its burst. */
function createThrottle(segmentsPerSecond: number, clock: () => number): () => boolean {
  let freeAt = 0;
  return () => {
    if (segmentsPerSecond === 0) return false;
    const now = clock();
    if (freeAt > now + BURST_MS) return true;
    freeAt = Math.max(freeAt, now) + 1000 / segmentsPerSecond;
    return false;
  };
}

function createTimers() {
  const timers = new Set<NodeJS.Timeout>();
  return {
    after: (milliseconds: number, run: () => void) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        run();
      }, milliseconds);
      timers.add(timer);
    },
    clear: () => {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
