import { closeSync, openSync, writeSync } from "node:fs";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { deliveryError } from "../domain/delivery-error.ts";
import type { MessageError } from "../domain/message.ts";
import type { Carrier, CarrierParts, Submission, SubmitAnswer } from "./carrier.ts";

/** How the sandbox behaves towards one number, or towards all that have nothing of their own. */
export type SandboxBehaviour = {
  /** Milliseconds until a submit is answered. */
  readonly latency: number;
  /** Milliseconds from the answer to the receipt. */
  readonly receiptAfter: number;
  /** The share of ordinary messages that are delivered, 0 to 1. */
  readonly successRatio: number;
  /**
   * What the others fail for, a documented code: "40002" and "40003" are spam, "40013" the sender's
   * fault.
   */
  readonly failureCode: string;
};

export type SandboxOptions = SandboxBehaviour & {
  /** Submits a second beyond which it throttles; 0 for no limit. */
  readonly segmentsPerSecond: number;
  /**
   * A file that gets one line of JSON for each submit, written before it is answered: what the
   * sandbox was given, by ids alone.
   */
  readonly ledger: string | undefined;
  /** By the sender's +E.164. */
  readonly numbers: Readonly<Record<string, Partial<SandboxBehaviour>>>;
};

/** The defaults. */
export const SANDBOX: SandboxOptions = {
  latency: 20,
  receiptAfter: 200,
  successRatio: 1,
  failureCode: "40013",
  segmentsPerSecond: 0,
  ledger: undefined,
  numbers: {},
};

/**
 * Nobody waits for an answer that never comes for longer than this, milliseconds: it is the longest
 * submit timeout.
 */
const FORGOTTEN = 3_600_000;
/** What is taken at once under a limit, milliseconds of its rate. */
const BURST = 100;

/** What happens to a message; recipients +1 NPA 555 01xx choose it by their last two digits. */
type Script = {
  readonly submit: "accept" | "refuse" | "deferOnce" | "silence";
  /** Receipts: undefined for a delivery, an error for a failure. */
  readonly receipts: readonly (MessageError | undefined)[];
  /** The receipts come before the submit is answered. */
  readonly early?: boolean;
};

const failed = (reason: ErrorReason, detail: string): Script => ({
  submit: "accept",
  receipts: [{ reason, detail: `The sandbox ${detail}.` }],
});

const DELIVERED: Script = { submit: "accept", receipts: [undefined] };
const SENDERS_FAULT = failed(ErrorReason.INVALID_MESSAGING_SOURCE, "refuses the sender");

const SCRIPTS: Readonly<Record<string, Script>> = {
  "00": DELIVERED,
  "01": failed(ErrorReason.NOT_ROUTABLE, "cannot reach the recipient"),
  "02": failed(ErrorReason.BLOCKED_AS_SPAM_TEMPORARY, "filtered the message as spam"),
  "03": { submit: "accept", receipts: [] },
  "04": { submit: "deferOnce", receipts: [undefined] },
  "05": { submit: "refuse", receipts: [] },
  "06": { submit: "silence", receipts: [] },
  "07": { submit: "accept", receipts: [undefined], early: true },
  "08": { submit: "accept", receipts: [undefined, undefined, undefined, undefined, undefined] },
  "09": SENDERS_FAULT,
};

/**
 * The carrier that is built in: it sends nothing anywhere, and answers as `options` and the
 * recipients' last digits say.
 */
export function createSandbox(parts: CarrierParts, options: SandboxOptions): Carrier {
  const timers = new Set<NodeJS.Timeout>();
  const deferred = new Set<string>();
  const open = new Set<(answer: SubmitAnswer) => void>();
  const ledger = options.ledger === undefined ? undefined : openSync(options.ledger, "a", 0o600);
  let count = 0;
  // When the sandbox would be free again if it took messages one after the other.
  let freeAt = 0;

  /**
   * Whether it was given more than it takes; what it takes at once is a tenth of a second's worth.
   */
  const isTooMuch = (): boolean => {
    if (options.segmentsPerSecond === 0) return false;
    const now = parts.clock();
    if (freeAt > now + BURST) return true;
    freeAt = Math.max(freeAt, now) + 1000 / options.segmentsPerSecond;
    return false;
  };

  const after = (milliseconds: number, act: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      act();
    }, milliseconds);
    timers.add(timer);
  };

  const scriptOf = (submission: Submission, behaviour: SandboxBehaviour): Script => {
    const digits = /^\+1\d{3}555(01\d\d)$/.exec(submission.to)?.[1]?.slice(2);
    const script = digits === undefined ? undefined : SCRIPTS[digits];
    if (script !== undefined) return script;
    if (parts.random() < behaviour.successRatio) return DELIVERED;
    return { submit: "accept", receipts: [deliveryError(behaviour.failureCode)] };
  };

  const report = (carrierMessageId: string, error: MessageError | undefined) => {
    const at = parts.clock();
    const carrierCode = error === undefined ? "" : String(error.reason);
    parts.onEvent(parts.name, {
      kind: "receipt",
      carrierMessageId,
      report: error === undefined ? { kind: "delivered", at } : { kind: "failed", at, error, carrierCode },
    });
  };

  const answerOf = (script: Script, submission: Submission, carrierMessageId: string): SubmitAnswer => {
    if (script.submit === "refuse") {
      const error = { reason: ErrorReason.REJECTED_BY_DESTINATION, detail: "The sandbox refused the message." };
      return { kind: "refused", error, carrierCode: "rejected" };
    }
    if (script.submit === "deferOnce" && !deferred.delete(submission.messageId)) {
      deferred.add(submission.messageId);
      return { kind: "deferred", carrierCode: "busy", retryAfterMs: undefined };
    }
    return { kind: "accepted", carrierMessageId };
  };

  return {
    name: parts.name,
    submit: (submission) =>
      new Promise((resolve) => {
        const behaviour = { ...options, ...options.numbers[submission.from] };
        open.add(resolve);
        count += 1;
        const carrierMessageId = `${submission.messageId}-${count}`;
        if (isTooMuch()) {
          after(behaviour.latency, () => {
            open.delete(resolve);
            resolve({ kind: "throttled", carrierCode: "throttled", retryAfterMs: undefined });
          });
          return;
        }
        if (ledger !== undefined) {
          const line = { at: parts.clock(), message_id: submission.messageId, carrier_message_id: carrierMessageId };
          writeSync(ledger, `${JSON.stringify(line)}\n`);
        }
        const script = scriptOf(submission, behaviour);
        if (script.submit === "silence") {
          after(FORGOTTEN, () => open.delete(resolve));
          return;
        }
        const tell = () => {
          for (const receipt of script.receipts) report(carrierMessageId, receipt);
        };
        if (script.early) after(behaviour.latency / 2, tell);
        after(behaviour.latency, () => {
          const answer = answerOf(script, submission, carrierMessageId);
          open.delete(resolve);
          resolve(answer);
          if (answer.kind === "accepted" && !script.early) after(behaviour.receiptAfter, tell);
        });
      }),
    close: async () => {
      for (const timer of timers) clearTimeout(timer);
      for (const resolve of open) resolve({ kind: "submit_unconfirmed" });
      if (ledger !== undefined) closeSync(ledger);
    },
  };
}
