import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { deliveryError } from "../../domain/delivery-error.ts";
import type { MessageError } from "../../domain/message.ts";
import type { SandboxBehaviour } from "./settings.ts";

/** The course of one message in the sandbox. */
export type Script = {
  readonly submit: "accept" | "refuse" | "deferOnce" | "silence";
  /** Its receipts: undefined for a delivery, an error for a failure. */
  readonly receipts: readonly (MessageError | undefined)[];
  /** Whether the receipts come before the answer to the submit. */
  readonly isEarly?: boolean;
};

const failed = (reason: ErrorReason, detail: string): Script => ({
  submit: "accept",
  receipts: [{ reason, detail: `The sandbox ${detail}.` }],
});

const DELIVERED: Script = { submit: "accept", receipts: [undefined] };

const SCRIPTS: Readonly<Record<string, Script>> = {
  "00": DELIVERED,
  "01": failed(ErrorReason.NOT_ROUTABLE, "cannot reach the recipient"),
  "02": failed(ErrorReason.BLOCKED_AS_SPAM_TEMPORARY, "filtered the message as spam"),
  "03": { submit: "accept", receipts: [] },
  "04": { submit: "deferOnce", receipts: [undefined] },
  "05": { submit: "refuse", receipts: [] },
  "06": { submit: "silence", receipts: [] },
  "07": { submit: "accept", receipts: [undefined], isEarly: true },
  "08": { submit: "accept", receipts: [undefined, undefined, undefined, undefined, undefined] },
  "09": failed(ErrorReason.INVALID_MESSAGING_SOURCE, "refuses the sender"),
};

/**
 * The script of a message: recipients +1 NPA 555 01xx choose one by their last two digits, others
 * are delivered by chance.
 */
export function scriptOf(to: string, behaviour: SandboxBehaviour, random: () => number): Script {
  const digits = /^\+1\d{3}555(01\d\d)$/.exec(to)?.[1]?.slice(2);
  const script = digits === undefined ? undefined : SCRIPTS[digits];
  if (script !== undefined) return script;
  if (random() < behaviour.success_ratio) return DELIVERED;
  return { submit: "accept", receipts: [deliveryError(behaviour.failure_code)] };
}
