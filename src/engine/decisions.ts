import { type Charge, charge, confirm, undo } from "../domain/pool/charge.ts";
import type { Pool } from "../domain/pool/state.ts";
import type { RecipientFacts, StickyMapping } from "../domain/recipient.ts";
import { type DecidedSend, decideSend, type RefusedSend, type SendRequest } from "./decide-send.ts";
import type { LivePool } from "./pools/live-pools.ts";

/**
 * The decisions of one transaction, in order. Each sees the charges and the mappings of those
 * before it, as if they were committed. `undo` removes the charges of a failed transaction, and
 * `confirm` makes those of a committed one final.
 */
export class Decisions {
  readonly now: number;
  private readonly stickyLifetimeMs: number;
  /** Numbers on trial that were picked. */
  readonly trials: string[] = [];
  /** Segments that the decided messages add to each number's queue, by number id. */
  readonly queued = new Map<string, number>();
  private readonly charges: { readonly pool: Pool; readonly charged: Charge }[] = [];
  private readonly mappingOf = new Map<string, StickyMapping>();

  /** `now` in milliseconds since 1970. */
  constructor(now: number, stickyLifetimeMs: number) {
    this.now = now;
    this.stickyLifetimeMs = stickyLifetimeMs;
  }

  /** The recipients' mappings after these decisions. */
  get mappings(): StickyMapping[] {
    return [...this.mappingOf.values()];
  }

  /** Decides one send and charges its sender. */
  decide(live: LivePool, request: SendRequest, recipient: RecipientFacts | undefined): DecidedSend | RefusedSend {
    const mappingKey = `${live.profile.id} ${request.to}`;
    const currentRecipient = recipient && {
      ...recipient,
      mapping: this.mappingOf.get(mappingKey) ?? recipient.mapping,
    };
    const decided = decideSend(live, request, currentRecipient, this.now, this.stickyLifetimeMs);
    if ("refusal" in decided) return decided;
    const { pool } = live;
    this.charges.push({ pool, charged: charge(pool, decided.pick, request.parts) });
    const { phoneNumberId } = decided.sender;
    if (decided.isTrial) this.trials.push(phoneNumberId);
    this.queued.set(phoneNumberId, (this.queued.get(phoneNumberId) ?? 0) + request.parts);
    if (decided.mapping !== undefined) this.mappingOf.set(mappingKey, decided.mapping);
    return decided;
  }

  /** Undoes the charges, the latest first. */
  undo(): void {
    for (const { pool, charged } of this.charges.splice(0).toReversed()) undo(pool, charged);
  }

  /** Confirms the charges, once they are on disk. */
  confirm(): void {
    for (const { charged } of this.charges) confirm(charged);
  }
}
