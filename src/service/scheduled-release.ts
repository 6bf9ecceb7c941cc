import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, type Refusal } from "../domain/failure.ts";
import type { Message } from "../domain/message.ts";
import type { LivePool } from "../store/pools.ts";
import type { ScheduledFacts, ScheduledRead, ScheduledWrites } from "../store/schedule-records.ts";
import { type Booked, decideSend, undoAll } from "./decide-send.ts";
import type { ServiceParts } from "./services.ts";

/** Decides scheduled messages that are due; resolves with the moment the next one will be, undefined for none. */
export type ScheduledRelease = () => Promise<number | undefined>;

/** Messages in one transaction: a few milliseconds. */
const GROUP = 100;
/** A full pool is tried again no sooner and no later than this, milliseconds: a cancelled message or a higher rate may make room. */
const LEAST_RETRY = 1_000;
const LONGEST_RETRY = 60_000;

type Written = ScheduledWrites["messages"][number];

/** Picks the senders of scheduled messages as they become due, as if they had been sent just then. */
export function createScheduledRelease({
  store,
  pools,
  clock,
  stickyLifetime,
  onAccepted,
}: ServiceParts): ScheduledRelease {
  /** The message as it is after its moment came, its charge and its sticky mapping. */
  const decideOne = ({ message, recipient }: ScheduledFacts, live: LivePool | undefined, now: number) => {
    if (message.validUntil <= now) return { written: ended(message, "expired", now, EXPIRED) };
    if (live === undefined) return { written: ended(message, "sending_failed", now, PROFILE_GONE) };
    if (!live.profile.enabled) return { written: ended(message, "sending_failed", now, PROFILE_DISABLED) };
    const named = message.phoneNumberId;
    const from = named === undefined || live.numbers.has(named) ? named : "";
    const decided = decideSend(live, { ...message, from }, recipient, now, stickyLifetime);
    if ("refusal" in decided) return { written: refused(message, decided.refusal, now) };
    const { sender, decision, waitTime } = decided;
    const waitSeconds = Math.round(waitTime) / 1000;
    // Behind what was accepted in this millisecond, whose ids are newer.
    const queued: Message = { ...message, ...sender, decision, waitSeconds, status: "queued", queuedAt: now + 1 };
    return { written: { message: queued, at: now, retryAt: undefined }, decided };
  };

  const releaseGroup = async (): Promise<{ more: boolean; nextAt: number | undefined }> => {
    const { messages, nextAt } = await store.listDueMessages(clock(), GROUP);
    if (messages.length === 0) return { more: false, nextAt };
    try {
      const retryAt = await release(messages);
      return { more: messages.length === GROUP, nextAt: soonest(retryAt, nextAt) };
    } catch (error) {
      if (error instanceof Failure || messages.length === 1) throw error;
    }
    // One bad message must not hold up the others.
    let failed: unknown;
    for (const each of messages) {
      await release([each]).catch((error) => {
        failed = error;
      });
    }
    throw failed ?? new Error("Messages that could not be released together were released one by one.");
  };

  /** Decides some that are due; resolves with the moment at which the first of them is to be tried again, undefined for none. */
  const release = async (due: readonly ScheduledRead[]): Promise<number | undefined> => {
    for (const each of due) await pools.load(each.organizationId, each.messagingProfileId);
    let booked: Booked[] = [];
    let queued = new Map<string, number>();
    let retryAt = Number.POSITIVE_INFINITY;
    try {
      await store.releaseScheduled(due, (facts) => {
        undoAll(booked);
        booked = [];
        queued = new Map();
        retryAt = Number.POSITIVE_INFINITY;
        const now = clock();
        const writes = { messages: [], mappings: [], usage: [] } as {
          [Kind in keyof ScheduledWrites]: ScheduledWrites[Kind][number][];
        };
        const mappings = new Map<string, ScheduledWrites["mappings"][number]>();
        for (const fact of facts) {
          const { message } = fact;
          const recipient = `${message.messagingProfileId} ${message.to}`;
          const known = { ...fact.recipient, mapping: mappings.get(recipient) ?? fact.recipient.mapping };
          const live = pools.peek(message.organizationId, message.messagingProfileId);
          const { written, decided } = decideOne({ message, recipient: known }, live, now);
          writes.messages.push(written);
          retryAt = Math.min(retryAt, written.retryAt ?? retryAt);
          if (decided === undefined) continue;
          booked.push(decided.booked);
          const { phoneNumberId } = decided.sender;
          queued.set(phoneNumberId, (queued.get(phoneNumberId) ?? 0) + message.parts);
          writes.usage.push(...decided.usage);
          if (decided.mapping === undefined) continue;
          mappings.set(recipient, decided.mapping);
          writes.mappings.push(decided.mapping);
        }
        return writes;
      });
    } catch (error) {
      undoAll(booked);
      throw error;
    }
    if (queued.size > 0) onAccepted(queued);
    return retryAt === Number.POSITIVE_INFINITY ? undefined : retryAt;
  };

  return async () => {
    for (;;) {
      const { more, nextAt } = await releaseGroup();
      if (!more) return nextAt;
    }
  };
}

function soonest(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}

function ended(message: Message, status: "expired" | "sending_failed", now: number, error: Message["error"]): Written {
  return { message: { ...message, status, completedAt: now, error }, at: now, retryAt: undefined };
}

/** A pool that is merely full has room later; every other refusal is the message's end. */
function refused(message: Message, { reason, detail, retryAfter }: Refusal, now: number): Written {
  if (reason !== ErrorReason.QUEUE_FULL) return ended(message, "sending_failed", now, { reason, detail });
  const wait = Math.min(LONGEST_RETRY, Math.max(LEAST_RETRY, retryAfter ?? LEAST_RETRY));
  return { message, at: now, retryAt: Math.ceil(Math.min(now + wait, message.validUntil)) };
}

const EXPIRED = {
  reason: ErrorReason.EXPIRED_IN_QUEUE,
  detail: "No number had room for the message before valid_until.",
} as const;
const PROFILE_GONE = {
  reason: ErrorReason.NO_USABLE_NUMBERS,
  detail: "The messaging profile was deleted before the message was due.",
} as const;
const PROFILE_DISABLED = {
  reason: ErrorReason.PROFILE_DISABLED,
  detail: "The messaging profile was disabled when the message was due.",
} as const;
