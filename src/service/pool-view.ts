import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type * as pb from "../../gen/numberpool/v1/profile_service_pb.ts";
import { NotEligibleCause, PoolNumberSchema, type ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { advance } from "../domain/pool/advance.ts";
import { waitOf } from "../domain/pool/room.ts";
import type { Cause, Pool } from "../domain/pool/state.ts";
import type { NumberFound } from "../store/numbers.ts";
import type { Methods } from "./call.ts";
import { toProtoNumber } from "./number-form.ts";
import { rowsOf, toProtoPageMeta } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownProfile } from "./unknown.ts";

/** The method of ProfileService that shows a pool in the state that the next pick sees. */
export function poolView({ store, pools, clock }: ServiceParts): Pick<Methods<typeof ProfileService>, "getNumberPool"> {
  return {
    getNumberPool: async (request, call) => {
      const { organizationId } = call;
      const page = rowsOf(request.page);
      const live = (await pools.load(organizationId, request.id)) ?? unknownProfile();
      const now = clock();
      const traffic = await store.listTraffic(organizationId, request.id, now);
      const total = [...traffic.values()].reduce((sum, messages) => sum + messages, 0);
      const numbers = await store.listNumbers(organizationId, { ...page, messagingProfileId: request.id });
      advance(live.pool, now);
      const data = numbers.rows.map((found) => {
        const share = total === 0 ? 0 : (traffic.get(found.number.id) ?? 0) / total;
        return toProtoPoolNumber(live.pool, found, share, now);
      });
      return { data, meta: toProtoPageMeta(page, numbers.total) };
    },
  };
}

function toProtoPoolNumber(pool: Pool, found: NumberFound, trafficShare: number, now: number): pb.PoolNumber {
  const slot = pool.byId.get(found.number.id);
  const entry = slot === undefined ? undefined : pool.slots[slot];
  const out = create(PoolNumberSchema, { number: toProtoNumber(found, now), trafficShare });
  // The pool in memory does not have a number yet that was just registered.
  if (slot === undefined || entry === undefined) return out;
  const waitMs = waitOf(pool, slot);
  out.eligible = pool.settings !== undefined && entry.cause === undefined;
  out.notEligibleBecause = entry.cause === undefined ? NotEligibleCause.UNSPECIFIED : CAUSES[entry.cause];
  if (pool.settings === undefined) out.notEligibleBecause = NotEligibleCause.POOL_OFF;
  out.queuedSegments = Math.round(waitMs / entry.segmentMs);
  out.waitSeconds = Math.round(waitMs) / 1000;
  out.weightShare = out.eligible ? weightShare(pool, entry.type) : 0;
  out.nextFreeAt = timestampFromMs(Math.max(now, Math.round(pool.nextFree[slot] as number)));
  return out;
}

/** An eligible number's share: its type's weight among the types with candidates, split evenly. */
function weightShare(pool: Pool, type: 0 | 1): number {
  const weights = pool.roundRobin.weights;
  const available = ([0, 1] as const).map((each) => (pool.candidates[each].size > 0 ? weights[each] : 0));
  const sum = (available[0] as number) + (available[1] as number);
  return (available[type] as number) / sum / pool.candidates[type].size;
}

const CAUSES: Readonly<Record<Cause, NotEligibleCause>> = {
  weightZero: NotEligibleCause.WEIGHT_ZERO,
  paused: NotEligibleCause.PAUSED,
  carrierUnavailable: NotEligibleCause.CARRIER_UNAVAILABLE,
  draining: NotEligibleCause.DRAINING,
  unhealthy: NotEligibleCause.UNHEALTHY,
  onTrial: NotEligibleCause.ON_TRIAL,
  dailyLimit: NotEligibleCause.DAILY_LIMIT,
  full: NotEligibleCause.FULL,
};
