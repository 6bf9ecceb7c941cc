import type { Refusal } from "../domain/failure.ts";
import type { DecisionRecord, MessageSender } from "../domain/message.ts";
import { advance } from "../domain/pool/advance.ts";
import { decide, type Picked } from "../domain/pool/decide.ts";
import type { RecipientFacts, StickyMapping } from "../domain/recipient.ts";
import { nearOf, OPTED_OUT, poolRefusal, TO_IS_FROM } from "../domain/send.ts";
import { stickyOf } from "../domain/sticky.ts";
import type { LivePool } from "./pools/live-pools.ts";

/** The decision of one send. */
export type SendDecision = RefusedSend | DecidedSend;

/** No number may send the message now. */
export type RefusedSend = {
  readonly refusal: Refusal;
  /** The numbers that an enabled pool considered; undefined: no enabled pool was asked. */
  readonly decision: DecisionRecord | undefined;
};

/** A sender was picked. */
export type DecidedSend = {
  readonly pick: Picked;
  readonly sender: MessageSender;
  readonly decision: DecisionRecord;
  /** How long the message will wait in its queue. */
  readonly waitMs: number;
  /** The sender is on trial: it gets no other message until this one has a report. */
  readonly isTrial: boolean;
  /** The recipient's mapping after the send; undefined: unchanged. */
  readonly mapping: StickyMapping | undefined;
};

/** A message whose sender is to be decided. */
export type SendRequest = {
  readonly to: string;
  readonly parts: number;
  /** The id of the number that the caller named; "": the profile has no such number. */
  readonly from: string | undefined;
  /** When a waiting message expires, milliseconds since 1970; undefined: the profile decides. */
  readonly validUntil?: number | undefined;
};

/**
 * Decides one send at `now`, for single sends, batches, released messages and previews. It charges
 * nothing; `Decisions` does.
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
  const recipientNumberId = live.idByPhoneNumber.get(to);
  if (from !== undefined && recipientNumberId === from) return { refusal: TO_IS_FROM, decision: undefined };
  advance(pool, now);
  const picked = decide(pool, {
    segments: parts,
    maxWaitMs: validUntil === undefined ? profile.validityPeriodSeconds * 1000 : validUntil - now,
    from,
    sticky: stickyOf(recipient?.mapping, profile, now - stickyLifetimeMs),
    near: profile.poolSettings?.geomatch ? nearOf(to) : undefined,
    except: recipientNumberId,
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

/** Throws: a pool always has exactly the numbers of its profile. */
function unreachable(): never {
  throw new Error("The pool picked a number that is not in its profile.");
}
