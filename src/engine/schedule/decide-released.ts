import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { Refusal } from "../../domain/failure.ts";
import type { Message } from "../../domain/message.ts";
import type { Changes } from "../../domain/plan/changes.ts";
import { changesOfReleased, type ReleasedMessage } from "../../domain/plan/released.ts";
import { EXPIRED_WITHOUT_ROOM } from "../../domain/plan/report.ts";
import { decide } from "../../domain/pool/decide.ts";
import { laneText, type ScheduledFacts, type WaitingLane } from "../../store/schedule.ts";
import type { Trials } from "../../store/trials.ts";
import { Decisions } from "../decisions.ts";
import type { LivePool, Pools } from "../pools/pools.ts";

/** A full pool is tried again no sooner and no later than this, milliseconds: a cancelled message or a higher rate may make room. */
export const MIN_RETRY_MS = 1_000;
export const MAX_RETRY_MS = 60_000;

/** A lane in which messages wait, and when it is tried again. */
export type Lane = { readonly lane: WaitingLane; readonly retryAt: number };

/** Messages that were decided in one transaction. */
export type ReleasedGroup = {
  readonly decisions: Decisions;
  readonly changes: Changes & Trials;
  /** The lanes that are full. */
  readonly full: ReadonlyMap<string, Lane>;
  /** When the first of the messages that were put off alone is due again. */
  readonly retryAt: number;
};

/** What decisions go by. */
export type DecideParts = {
  readonly pools: Pools;
  readonly clock: () => number;
  /** How long a sticky mapping lives, milliseconds. */
  readonly stickyLifetimeMs: number;
};

/** The message's lane has no room; it is tried again then. */
type LaneFull = { readonly fullUntil: number };

/** Decides messages that are due, in order. `isWaiting`: they stand in lanes already. When it fails midway, nothing is charged. */
export function decideReleased(
  facts: readonly ScheduledFacts[],
  isWaiting: boolean,
  { pools, clock, stickyLifetimeMs }: DecideParts,
): ReleasedGroup {
  const decisions = new Decisions(clock(), stickyLifetimeMs);
  const released: ReleasedMessage[] = [];
  const full = new Map<string, Lane>();
  let retryAt = Number.POSITIVE_INFINITY;
  try {
    for (const fact of facts) {
      const { message } = fact;
      const lane = laneText(message);
      const live = pools.peek(message.organizationId, message.messagingProfileId);
      const one = full.has(lane) ? undefined : decideOne(fact, live, decisions);
      if (one !== undefined && "message" in one) {
        released.push(one);
        retryAt = Math.min(retryAt, one.retryAt ?? retryAt);
        continue;
      }
      if (one !== undefined) full.set(lane, { lane: laneOf(message), retryAt: one.fullUntil });
      if (!isWaiting) released.push({ message, at: decisions.now, retryAt: undefined });
    }
  } catch (error) {
    decisions.undo();
    throw error;
  }
  const changes = { ...changesOfReleased(released), mappings: decisions.mappings, trials: decisions.trials };
  return { decisions, changes, full, retryAt };
}

/** Decides one message whose moment came. */
function decideOne(
  { message, recipient }: ScheduledFacts,
  live: LivePool | undefined,
  decisions: Decisions,
): ReleasedMessage | LaneFull {
  const { now } = decisions;
  if (message.validUntil <= now) return ended(message, "expired", now, EXPIRED_WITHOUT_ROOM);
  if (live === undefined) return ended(message, "sending_failed", now, PROFILE_GONE);
  const named = message.phoneNumberId;
  const from = named === undefined || live.numbers.has(named) ? named : "";
  const decided = decisions.decide(live, { ...message, from }, recipient);
  if ("refusal" in decided) return refused(message, decided.refusal, live, now);
  const { sender, decision, waitMs } = decided;
  const waitSeconds = Math.round(waitMs) / 1000;
  // Behind what was accepted in this millisecond, whose ids are newer.
  const queued: Message = { ...message, ...sender, decision, waitSeconds, status: "queued", queuedAt: now + 1 };
  return { message: queued, at: now, retryAt: undefined };
}

/** A pool that is merely full has room later; every other refusal is the message's end. */
function refused(
  message: Message,
  { reason, detail, retryAfterMs }: Refusal,
  live: LivePool,
  now: number,
): ReleasedMessage | LaneFull {
  if (reason !== ErrorReason.QUEUE_FULL) {
    return ended(message, "sending_failed", now, { reason, detail });
  }
  const wait = Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, retryAfterMs ?? MIN_RETRY_MS));
  const retryAt = Math.ceil(now + wait);
  // Where there is room for others, one that waits for longer, for its length or its recipient, holds up none of them.
  const isAlone = (retryAfterMs ?? 0) > MAX_RETRY_MS || live.idByPhoneNumber.has(message.to);
  // Queues hold more than the time it has left: it is tried again, ever sooner, until it expires.
  const isDoomed = now + (retryAfterMs ?? 0) >= message.validUntil;
  const hasRoomForOthers = decide(live.pool, { segments: 1, from: message.phoneNumberId }).kind === "pick";
  if ((isAlone || isDoomed) && hasRoomForOthers) {
    const later = isDoomed ? Math.max(retryAt, Math.ceil((now + message.validUntil) / 2)) : retryAt;
    return { message, at: now, retryAt: later };
  }
  return { fullUntil: retryAt };
}

function ended(
  message: Message,
  status: "expired" | "sending_failed",
  now: number,
  error: Message["error"],
): ReleasedMessage {
  return { message: { ...message, status, completedAt: now, error }, at: now, retryAt: undefined };
}

const PROFILE_GONE = {
  reason: ErrorReason.NO_USABLE_NUMBERS,
  detail: "The messaging profile was deleted before the message was due.",
} as const;

function laneOf({ organizationId, messagingProfileId, phoneNumberId }: WaitingLane): WaitingLane {
  return { organizationId, messagingProfileId, phoneNumberId };
}
