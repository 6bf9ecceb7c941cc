import type { Refusal } from "../domain/failure.ts";
import type { DecisionRecord, MessageSender } from "../domain/message.ts";
import { advance } from "../domain/pool/advance.ts";
import { type Charge, charge, confirm, undo } from "../domain/pool/charge.ts";
import { decide } from "../domain/pool/decide.ts";
import type { Pool } from "../domain/pool/pool.ts";
import type { RecipientFacts, StickyMapping } from "../domain/recipient.ts";
import { nearOf, OPTED_OUT, poolRefusal, TO_IS_FROM } from "../domain/send.ts";
import { stickyOf } from "../domain/sticky.ts";
import type { LivePool } from "./pools/pools.ts";

/** A charge of a pool, to be undone when its commit fails. */
export type Booked = { readonly pool: Pool; readonly charged: Charge };

/** Takes charges back, the latest first. */
export function undoAll(booked: readonly Booked[]): void {
  for (const { pool, charged } of booked.toReversed()) undo(pool, charged);
}

/** Notes that charges are on disk. */
export function confirmAll(booked: readonly Booked[]): void {
  for (const { charged } of booked) confirm(charged);
}

/** A sender was found and charged, or nobody may send this now. */
export type SendDecision =
  | { readonly refusal: Refusal }
  | {
      readonly sender: MessageSender;
      readonly decision: DecisionRecord;
      /** What the message will wait in its queue, milliseconds. */
      readonly waitMs: number;
      readonly booked: Booked;
      /** The sender is on trial: nobody else may pick it before this message is reported. */
      readonly isTrial: boolean;
      /** The recipient's mapping as it is then; undefined: it is left alone. */
      readonly mapping: StickyMapping | undefined;
    };

/** A text to be decided upon. */
export type SendRequest = {
  readonly to: string;
  readonly parts: number;
  /** The number that the caller named, by id; "" when the profile has no such number. */
  readonly from: string | undefined;
  /** When a message expires that waits already, milliseconds since 1970; undefined: the profile's validity from now on. */
  readonly validUntil?: number | undefined;
};

/** Decides one text at a moment and charges its sender. `stickyLifetime` in milliseconds. */
export function decideSend(
  live: LivePool,
  { to, parts, from, validUntil }: SendRequest,
  recipient: RecipientFacts | undefined,
  now: number,
  stickyLifetime: number,
): SendDecision {
  const { profile, pool } = live;
  if (recipient?.optedOut) return { refusal: OPTED_OUT };
  const own = live.idByPhoneNumber.get(to);
  if (from !== undefined && own === from) return { refusal: TO_IS_FROM };
  advance(pool, now);
  const picked = decide(pool, {
    segments: parts,
    maxWaitMs: validUntil === undefined ? profile.validityPeriodSeconds * 1000 : validUntil - now,
    from,
    sticky: stickyOf(recipient?.mapping, profile, now - stickyLifetime),
    near: profile.poolSettings?.geomatch ? nearOf(to) : undefined,
    except: own,
  });
  if (picked.kind === "refuse") return { refusal: poolRefusal(picked) };
  const { number, standing } = pool.slots[picked.slot] ?? unreachable();
  const isTrial = standing.standing === "trial" && pool.settings?.skipUnhealthy === true;
  const booked = { pool, charged: charge(pool, picked, parts) };
  const record = live.numbers.get(number.id) ?? unreachable();
  const { id: phoneNumberId, phoneNumber, carrier, lineType } = record;
  const isMapped = profile.poolSettings?.stickySender === true && from === undefined && !picked.isFallback;
  return {
    sender: { phoneNumberId, from: phoneNumber, carrier, lineType },
    decision: picked,
    waitMs: picked.waitMs,
    booked,
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
