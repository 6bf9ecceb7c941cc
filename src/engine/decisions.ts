import { type Charge, charge, confirm, undo } from "../domain/pool/charge.ts";
import type { Pool } from "../domain/pool/state.ts";
import type { RecipientFacts, StickyMapping } from "../domain/recipient.ts";
import { type DecidedSend, decideSend, type RefusedSend, type SendRequest } from "./decide-send.ts";
import type { LivePool } from "./pools/pools.ts";

/**
 * The decisions of one transaction, in order: each sees the charges and the mappings of those before it, as if they were committed.
 * When the transaction fails, `undo` takes the charges back; when it is committed, `confirm` keeps them.
 */
export class Decisions {
  readonly now: number;
  private readonly stickyLifetimeMs: number;
  /** Numbers on trial that were picked. */
  readonly trials: string[] = [];
  /** Segments that the decided messages put into the numbers' queues. */
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
    const name = `${live.profile.id} ${request.to}`;
    const known = recipient && { ...recipient, mapping: this.mappingOf.get(name) ?? recipient.mapping };
    const decided = decideSend(live, request, known, this.now, this.stickyLifetimeMs);
    if ("refusal" in decided) return decided;
    const { pool } = live;
    this.charges.push({ pool, charged: charge(pool, decided.pick, request.parts) });
    const { phoneNumberId } = decided.sender;
    if (decided.isTrial) this.trials.push(phoneNumberId);
    this.queued.set(phoneNumberId, (this.queued.get(phoneNumberId) ?? 0) + request.parts);
    if (decided.mapping !== undefined) this.mappingOf.set(name, decided.mapping);
    return decided;
  }

  /** Takes the charges back, the latest first. */
  undo(): void {
    for (const { pool, charged } of this.charges.splice(0).toReversed()) undo(pool, charged);
  }

  /** The charges are on disk. */
  confirm(): void {
    for (const { charged } of this.charges) confirm(charged);
  }
}
