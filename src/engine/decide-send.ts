import type { Refusal } from "../domain/failure.ts";
import type { DecisionRecord, MessageSender } from "../domain/message.ts";
import { advance } from "../domain/pool/advance.ts";
import { decide, type Picked } from "../domain/pool/decide.ts";
import type { RecipientFacts, StickyMapping } from "../domain/recipient.ts";
import { nearOf, OPTED_OUT, poolRefusal, TO_IS_FROM } from "../domain/send.ts";
import { stickyOf } from "../domain/sticky.ts";
import type { LivePool } from "./pools/pools.ts";

/** A sender was found, or none may send this now. */
export type SendDecision = RefusedSend | DecidedSend;

export type RefusedSend = {
  readonly refusal: Refusal;
  /** What a pool that is on had to choose from; undefined: the refusal came before the pool. */
  readonly decision: DecisionRecord | undefined;
};

export type DecidedSend = {
  readonly pick: Picked;
  readonly sender: MessageSender;
  readonly decision: DecisionRecord;
  /** How long the message will wait in its queue, milliseconds. */
  readonly waitMs: number;
  /** The sender is on trial: no other message may have it before this one is reported. */
  readonly isTrial: boolean;
  /** The recipient's mapping after the send; undefined: it stays as it is. */
  readonly mapping: StickyMapping | undefined;
};

/** A text to decide about. */
export type SendRequest = {
  readonly to: string;
  readonly parts: number;
  /** The number that the caller named, by id; "" when the profile has no such number. */
  readonly from: string | undefined;
  /** When a message expires that waits already, milliseconds since 1970; undefined: the profile's validity from now on. */
  readonly validUntil?: number | undefined;
};

/**
 * Decides one send at a moment, for sends, batches, released messages and previews alike. Nothing is charged: see `Decisions`.
 * `stickyLifetimeMs` in milliseconds.
 */
export function decideSend(
  live: LivePool,
  { to, parts, from, validUntil }: SendRequest,
  recipient: RecipientFacts | undefined,
  now: number,
  stickyLifetimeMs: number,
): SendDecision {
  const { profile, pool } = live;
  if (recipient?.optedOut) return { refusal: OPTED_OUT, decision: undefined };
  const own = live.idByPhoneNumber.get(to);
  if (from !== undefined && own === from) return { refusal: TO_IS_FROM, decision: undefined };
  advance(pool, now);
  const picked = decide(pool, {
    segments: parts,
    maxWaitMs: validUntil === undefined ? profile.validityPeriodSeconds * 1000 : validUntil - now,
    from,
    sticky: stickyOf(recipient?.mapping, profile, now - stickyLifetimeMs),
    near: profile.poolSettings?.geomatch ? nearOf(to) : undefined,
    except: own,
  });
  if (picked.kind === "refuse") {
    const decision = { ...picked, rule: undefined, tier: undefined, isFallback: false };
    return { refusal: poolRefusal(picked), decision: picked.because === "poolOff" ? undefined : decision };
  }
  const { number, standing } = pool.slots[picked.slot] ?? unreachable();
  const isTrial = standing.standing === "trial" && pool.settings?.skipUnhealthy === true;
  const record = live.numbers.get(number.id) ?? unreachable();
  const { id: phoneNumberId, phoneNumber, carrier, lineType } = record;
  const isMapped = profile.poolSettings?.stickySender === true && from === undefined && !picked.isFallback;
  return {
    pick: picked,
    sender: { phoneNumberId, from: phoneNumber, carrier, lineType },
    decision: picked,
    waitMs: picked.waitMs,
    isTrial,
    mapping: isMapped
      ? {
          organizationId: profile.organizationId,
          messagingProfileId: profile.id,
          to,
          phoneNumberId,
          profileGeneration: profile.stickyGeneration,
          numberGeneration: record.generation,
          lastMessageAt: now,
        }
      : undefined,
  };
}

/** The pool and the numbers of a live profile are changed together. */
function unreachable(): never {
  throw new Error("The pool picked a number that its profile does not have.");
}
