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
import type { LivePool } from "../pools/live-pools.ts";
import type { Pools } from "../pools/pools.ts";

/** How soon a full pool is retried at the earliest. */
export const MIN_RETRY_MS = 1_000;
/** And at the latest: a cancelled message or a higher rate may make room early. */
export const MAX_RETRY_MS = 60_000;

/** A lane in which messages wait, and when it is retried. */
export type Lane = { readonly lane: WaitingLane; readonly retryAt: number };

/** Messages decided in one transaction. */
export type ReleasedGroup = {
  readonly decisions: Decisions;
  readonly changes: Changes & Trials;
  /** The lanes that are full. */
  readonly full: ReadonlyMap<string, Lane>;
  /** When the first individually deferred message is retried. */
  readonly retryAt: number;
};

/** The dependencies of a decision. */
export type DecideParts = {
  readonly pools: Pools;
  readonly clock: () => number;
  /** How long a sticky mapping lives after its last message. */
  readonly stickyLifetimeMs: number;
};

/** The message's lane has no room; it is retried at `fullUntil`. */
type LaneFull = { readonly fullUntil: number };

/**
 * Decides due messages in order. `isWaiting`: they already wait in lanes. On an error it undoes
 * every charge.
 */
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
      const result = full.has(lane) ? undefined : decideOne(fact, live, decisions);
      if (result !== undefined && "message" in result) {
        released.push(result);
        retryAt = Math.min(retryAt, result.retryAt ?? retryAt);
        continue;
      }
      if (result !== undefined) full.set(lane, { lane: laneOf(message), retryAt: result.fullUntil });
      if (!isWaiting) released.push({ message, at: decisions.now, retryAt: undefined });
    }
  } catch (error) {
    decisions.undo();
    throw error;
  }
  const changes = { ...changesOfReleased(released), mappings: decisions.mappings, trials: decisions.trials };
  return { decisions, changes, full, retryAt };
}

/** Decides one due message. */
function decideOne(
  { message, recipient }: ScheduledFacts,
  live: LivePool | undefined,
  decisions: Decisions,
): ReleasedMessage | LaneFull {
  const { now } = decisions;
  if (message.validUntil <= now) return ended(message, "expired", now, EXPIRED_WITHOUT_ROOM);
  if (live === undefined) return ended(message, "sending_failed", now, PROFILE_GONE);
  const { phoneNumberId } = message;
  const from = phoneNumberId === undefined || live.numbers.has(phoneNumberId) ? phoneNumberId : "";
  const decided = decisions.decide(live, { ...message, from }, recipient);
  if ("refusal" in decided) return refused(message, decided.refusal, live, now);
  const { sender, decision, waitMs } = decided;
  const waitSeconds = Math.round(waitMs) / 1000;
  // One millisecond later, so that it follows messages accepted now, whose ids are higher.
  const queued: Message = { ...message, ...sender, decision, waitSeconds, status: "queued", queuedAt: now + 1 };
  return { message: queued, at: now, retryAt: undefined };
}

/** The result of a refusal: a full pool is retried, and every other refusal ends the message. */
function refused(
  message: Message,
  { reason, detail, retryAfterMs }: Refusal,
  live: LivePool,
  now: number,
): ReleasedMessage | LaneFull {
  if (reason !== ErrorReason.QUEUE_FULL) {
    return ended(message, "sending_failed", now, { reason, detail });
  }
  const waitMs = Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, retryAfterMs ?? MIN_RETRY_MS));
  const retryAt = Math.ceil(now + waitMs);
  // A message that waits for its own length or recipient must not block the rest of its lane.
  const blocksAlone = (retryAfterMs ?? 0) > MAX_RETRY_MS || live.idByPhoneNumber.has(message.to);
  // The queues are longer than its remaining validity: it is retried at ever shorter intervals.
  const expiresFirst = now + (retryAfterMs ?? 0) >= message.validUntil;
  const hasRoomForOthers = decide(live.pool, { segments: 1, from: message.phoneNumberId }).kind === "pick";
  if ((blocksAlone || expiresFirst) && hasRoomForOthers) {
    const later = expiresFirst ? Math.max(retryAt, Math.ceil((now + message.validUntil) / 2)) : retryAt;
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
