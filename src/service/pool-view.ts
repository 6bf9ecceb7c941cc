import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  NotEligibleCause,
  type PoolNumber,
  PoolNumberSchema,
  type ProfileService,
} from "../../gen/numberpool/v1/profile_service_pb.ts";
import { advance } from "../domain/pool/advance.ts";
import { waitOf } from "../domain/pool/room.ts";
import type { Cause, Pool } from "../domain/pool/state.ts";
import type { NumberFound } from "../store/numbers.ts";
import type { Methods } from "./call.ts";
import { toProtoNumber } from "./number-form.ts";
import { pageMeta, rowsOf } from "./page.ts";
import type { ServiceParts } from "./parts.ts";
import { unknownProfile } from "./unknown.ts";

/** The method of ProfileService that shows a pool as the next pick would see it. */
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
        return poolNumberMessage(live.pool, found, share, now);
      });
      return { data, meta: pageMeta(page, numbers.total) };
    },
  };
}

function poolNumberMessage(pool: Pool, found: NumberFound, trafficShare: number, now: number): PoolNumber {
  const slot = pool.byId.get(found.number.id);
  const known = slot === undefined ? undefined : pool.slots[slot];
  const out = create(PoolNumberSchema, { number: toProtoNumber(found, now), trafficShare });
  // Registered a moment ago: the next look shows it.
  if (slot === undefined || known === undefined) return out;
  const wait = waitOf(pool, slot);
  out.eligible = pool.settings !== undefined && known.cause === undefined;
  out.notEligibleBecause = known.cause === undefined ? NotEligibleCause.UNSPECIFIED : CAUSES_TOLD[known.cause];
  if (pool.settings === undefined) out.notEligibleBecause = NotEligibleCause.POOL_OFF;
  out.queuedSegments = Math.round(wait / known.segmentMs);
  out.waitSeconds = Math.round(wait) / 1000;
  out.weightShare = out.eligible ? weightShare(pool, known.type) : 0;
  out.nextFreeAt = timestampFromMs(Math.max(now, Math.round(pool.nextFree[slot] as number)));
  return out;
}

/** The share of one eligible number: its type's share among the types that have any, spread evenly. */
function weightShare(pool: Pool, type: 0 | 1): number {
  const weights = pool.roundRobin.weights;
  const offered = ([0, 1] as const).map((each) => (pool.candidates[each].size > 0 ? weights[each] : 0));
  const sum = (offered[0] as number) + (offered[1] as number);
  return (offered[type] as number) / sum / pool.candidates[type].size;
}

/** Causes as the contract has them. */
const CAUSES_TOLD: Readonly<Record<Cause, NotEligibleCause>> = {
  weightZero: NotEligibleCause.WEIGHT_ZERO,
  paused: NotEligibleCause.PAUSED,
  carrierUnavailable: NotEligibleCause.CARRIER_UNAVAILABLE,
  draining: NotEligibleCause.DRAINING,
  unhealthy: NotEligibleCause.UNHEALTHY,
  onTrial: NotEligibleCause.ON_TRIAL,
  dailyLimit: NotEligibleCause.DAILY_LIMIT,
  full: NotEligibleCause.FULL,
};
