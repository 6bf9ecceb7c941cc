import type { MessagingProfile } from "../../domain/messaging-profile.ts";
import type { PhoneNumber } from "../../domain/phone-number-record.ts";
import { poolNumber } from "../../domain/phone-number-record.ts";
import { advance } from "../../domain/pool/advance.ts";
import { changeSettings, createPool, dropNumber, putNumber } from "../../domain/pool/pool.ts";
import type { Pool } from "../../domain/pool/state.ts";
import type { ConfigurationChange } from "../../store/configuration-changes.ts";
import type { PoolRow } from "../../store/pool-rows.ts";
import type { Store } from "../../store/store.ts";

/** A profile with its pool and its numbers, updated in place. */
export type LivePool = {
  profile: MessagingProfile;
  readonly pool: Pool;
  readonly numbers: Map<string, PhoneNumber>;
  readonly idByPhoneNumber: Map<string, string>;
};

/** The pools in memory. */
export type LivePools = {
  /** A pool that is loaded. */
  readonly peek: (organizationId: string, profileId: string) => LivePool | undefined;
  /** A pool, loaded if it is not yet; undefined: there is no such profile. */
  readonly load: (organizationId: string, profileId: string) => Promise<LivePool | undefined>;
  /** The loaded pool of a number, advanced to now. */
  readonly poolOf: (phoneNumberId: string) => Pool | undefined;
  readonly all: () => Iterable<LivePool>;
  readonly close: () => void;
};

/**
 * Opens pools that follow the configuration. `clock` gives milliseconds since 1970. Numbers of
 * carriers that are not in `carriers` are excluded; undefined: none are. `onNumber` receives each
 * number that joins, with its queued segments.
 */
export function openLivePools(
  store: Store,
  clock: () => number,
  carriers: ReadonlySet<string> | undefined,
  onNumber: (phoneNumberId: string, queuedSegments: number) => void,
): LivePools {
  const index: PoolIndex = { live: new Map(), profileOf: new Map() };
  const loading = new Map<string, Promise<LivePool | undefined>>();

  const numberOf = ({ number, traffic }: PoolRow, now: number) => ({
    ...poolNumber(number, traffic, now),
    carrierUnavailable: carriers !== undefined && !carriers.has(number.carrier),
  });

  const remember = (pool: LivePool, { number, traffic }: PoolRow) => {
    if (!index.profileOf.has(number.id)) onNumber(number.id, traffic.queuedSegments);
    pool.numbers.set(number.id, number);
    pool.idByPhoneNumber.set(number.phoneNumber, number.id);
    index.profileOf.set(number.id, pool.profile.id);
  };

  const read = async (organizationId: string, profileId: string): Promise<LivePool | undefined> => {
    const rows = await store.loadPool(organizationId, profileId);
    if (rows === undefined) return undefined;
    const now = clock();
    const numbers = rows.numbers.map((row) => numberOf(row, now));
    const pool: LivePool = {
      profile: rows.profile,
      pool: createPool(rows.profile.poolSettings, numbers, now),
      numbers: new Map(),
      idByPhoneNumber: new Map(),
    };
    for (const row of rows.numbers) remember(pool, row);
    index.live.set(profileId, pool);
    return pool;
  };

  const peek = (organizationId: string, profileId: string) => {
    const pool = index.live.get(profileId);
    return pool?.profile.organizationId === organizationId ? pool : undefined;
  };

  const refreshNumber = async ({ id }: ConfigurationChange) => {
    const row = await store.loadPoolNumber(id);
    const profileId = row?.number.messagingProfileId;
    if (index.profileOf.get(id) !== profileId) drop(index, id);
    const pool = profileId === undefined ? undefined : index.live.get(profileId);
    if (row === undefined || pool === undefined) return;
    advance(pool.pool, clock());
    putNumber(pool.pool, numberOf(row, pool.pool.now));
    remember(pool, row);
  };

  const close = store.watchConfiguration(async (change) => {
    await Promise.allSettled(loading.values());
    if (change.kind === "messaging_profile") await refreshProfile(store, index, change, clock);
    if (change.kind === "phone_number") await refreshNumber(change);
  });

  return {
    peek,
    load: async (organizationId, profileId) => {
      const known = peek(organizationId, profileId);
      if (known !== undefined) return known;
      const key = `${organizationId} ${profileId}`;
      let pending = loading.get(key);
      if (pending === undefined) {
        pending = read(organizationId, profileId).finally(() => loading.delete(key));
        loading.set(key, pending);
      }
      return pending;
    },
    poolOf: (phoneNumberId) => {
      const pool = index.live.get(index.profileOf.get(phoneNumberId) ?? "")?.pool;
      if (pool !== undefined) advance(pool, clock());
      return pool;
    },
    all: () => index.live.values(),
    close,
  };
}

/** The loaded pools by profile, and the profile of each of their numbers. */
type PoolIndex = { readonly live: Map<string, LivePool>; readonly profileOf: Map<string, string> };

function drop({ live, profileOf }: PoolIndex, numberId: string): void {
  const pool = live.get(profileOf.get(numberId) ?? "");
  profileOf.delete(numberId);
  const number = pool?.numbers.get(numberId);
  if (pool === undefined || number === undefined) return;
  dropNumber(pool.pool, numberId);
  pool.numbers.delete(numberId);
  pool.idByPhoneNumber.delete(number.phoneNumber);
}

async function refreshProfile(
  store: Store,
  { live, profileOf }: PoolIndex,
  { organizationId, id }: ConfigurationChange,
  clock: () => number,
): Promise<void> {
  const pool = live.get(id);
  if (pool === undefined) return;
  const profile = await store.getProfile(organizationId, id);
  if (profile === undefined) {
    for (const numberId of pool.numbers.keys()) profileOf.delete(numberId);
    live.delete(id);
    return;
  }
  const before = pool.profile.poolSettings;
  pool.profile = profile;
  advance(pool.pool, clock());
  if (JSON.stringify(before) !== JSON.stringify(profile.poolSettings)) changeSettings(pool.pool, profile.poolSettings);
}
