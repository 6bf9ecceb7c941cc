import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import type { CarrierReport } from "../../src/domain/carrier-report.ts";
import type { Report } from "../../src/domain/lifecycle.ts";
import type { Message } from "../../src/domain/message.ts";
import type { MessagingProfile } from "../../src/domain/messaging-profile.ts";
import type { PhoneNumber } from "../../src/domain/phone-number-record.ts";
import { changesOfReleased, type ReleasedMessage } from "../../src/domain/plan/released.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import type { Store } from "../../src/store/store.ts";
import {
  aMessage,
  aNumber,
  anOrganization,
  aProfile,
  aScheduled,
  BLOCKED_AS_SPAM,
  eventsOf,
  FAILED_BY_SENDER,
  HOUR,
  NOON,
  SECOND,
  senderOf,
} from "./contract/records.ts";
import { freshDatabase } from "./postgres-database.ts";
import { openInFolder } from "./sqlite-folder.ts";

const RECIPIENTS = ["+12125550100", "+12125550101", "+12125550102"] as const;
const OWNERS = ["process-1", "process-2"] as const;
const LIMIT = 10_000;

type Act =
  | {
      readonly do: "accept";
      readonly number: number;
      readonly to: number;
      readonly parts: number;
      readonly key: boolean;
    }
  | { readonly do: "schedule"; readonly to: number; readonly after: number; readonly number: number | undefined }
  | { readonly do: "release"; readonly number: number; readonly end: "queued" | "sending_failed" | "later" | "wait" }
  | { readonly do: "claim"; readonly owner: number; readonly budget: number | undefined }
  | { readonly do: "requeue"; readonly owner: number; readonly keep: number }
  | { readonly do: "report"; readonly reports: readonly Reported[] }
  | { readonly do: "cancel"; readonly message: number }
  | { readonly do: "expire" | "match" | "timeouts" | "settle" }
  | { readonly do: "optOut" | "optIn"; readonly to: number }
  | { readonly do: "state"; readonly number: number; readonly state: PhoneNumber["state"] }
  | { readonly do: "rate"; readonly number: number; readonly rate: number; readonly limit: number | undefined }
  | { readonly do: "remove" | "reset"; readonly number: number }
  | { readonly do: "deleteProfile" };

type Reported = {
  readonly message: number;
  readonly kind: Report["kind"];
  readonly by: "id" | "exact" | "hex" | "upper" | "unknown";
  readonly isAnswer: boolean;
  readonly isSpam: boolean;
};

const index = fc.nat(9);
const number = fc.nat(2);
const act = <Kind extends Act["do"]>(kind: Kind, rest: object = {}) =>
  fc.record({ do: fc.constant(kind), ...rest }) as unknown as fc.Arbitrary<Act>;
const reported: fc.Arbitrary<Reported> = fc.record({
  message: index,
  kind: fc.constantFrom(
    ...([
      "accepted",
      "accepted",
      "refused",
      "deferred",
      "submit_unconfirmed",
      "buffered",
      "delivered",
      "failed",
    ] as const),
  ),
  by: fc.constantFrom("id", "id", "exact", "exact", "hex", "upper", "unknown"),
  isAnswer: fc.boolean(),
  isSpam: fc.boolean(),
});
const acts = fc.array(
  fc.record({
    waitMs: fc.constantFrom(0, 0, 1, 40, SECOND, 90 * SECOND, 2 * HOUR),
    act: fc.oneof(
      {
        weight: 6,
        arbitrary: act("accept", { number, to: number, parts: fc.integer({ min: 1, max: 3 }), key: fc.boolean() }),
      },
      {
        weight: 2,
        arbitrary: act("schedule", {
          to: number,
          after: fc.constantFrom(0, SECOND, HOUR),
          number: fc.option(number, { nil: undefined }),
        }),
      },
      {
        weight: 2,
        arbitrary: act("release", {
          number,
          end: fc.constantFrom("queued", "queued", "sending_failed", "later", "wait"),
        }),
      },
      { weight: 6, arbitrary: act("claim", { owner: fc.nat(1), budget: fc.option(fc.nat(3), { nil: undefined }) }) },
      { weight: 1, arbitrary: act("requeue", { owner: fc.nat(1), keep: fc.nat(3) }) },
      { weight: 8, arbitrary: act("report", { reports: fc.array(reported, { minLength: 1, maxLength: 3 }) }) },
      { weight: 1, arbitrary: act("cancel", { message: index }) },
      { weight: 1, arbitrary: act("expire") },
      { weight: 2, arbitrary: act("match") },
      { weight: 1, arbitrary: act("timeouts") },
      { weight: 1, arbitrary: act("settle") },
      { weight: 1, arbitrary: act("optOut", { to: number }) },
      { weight: 1, arbitrary: act("optIn", { to: number }) },
      {
        weight: 1,
        arbitrary: act("state", { number, state: fc.constantFrom("active", "active", "paused", "draining") }),
      },
      {
        weight: 1,
        arbitrary: act("rate", {
          number,
          rate: fc.constantFrom(0.5, 1, 50),
          limit: fc.option(fc.nat(4), { nil: undefined }),
        }),
      },
      { weight: 1, arbitrary: act("remove", { number }) },
      { weight: 1, arbitrary: act("reset", { number }) },
      { weight: 1, arbitrary: act("deleteProfile") },
    ),
  }),
  { minLength: 1, maxLength: 40, size: "max" },
);

/** The records of a history, the same in both stores. */
type World = {
  readonly profile: MessagingProfile;
  readonly numbers: readonly PhoneNumber[];
  readonly messages: Message[];
  now: number;
  /** A new process settles each time: SQLite settles the others' messages once for each process. */
  settlers: number;
};

/** The carrier's id of a message: hexadecimal digits, as with many carriers. */
function carrierIdOf({ messages }: World, place: number): string {
  return `${messages[0]?.id.replaceAll("-", "").slice(20) ?? ""}b${place}`;
}

function reportOf(world: World, { message, kind, by, isAnswer, isSpam }: Reported): CarrierReport | undefined {
  if (world.messages.length === 0) return undefined;
  const place = message % world.messages.length;
  const target = world.messages[place] as Message;
  const id = carrierIdOf(world, place);
  const at = world.now;
  const error = isSpam ? BLOCKED_AS_SPAM : FAILED_BY_SENDER;
  const report = {
    accepted: { kind: "accepted", at, carrierMessageId: id },
    refused: { kind: "refused", at, error, carrierCode: "7" },
    deferred: { kind: "deferred", at, carrierCode: "88", retryAt: at + SECOND },
    submit_unconfirmed: { kind: "submit_unconfirmed", at },
    receipt_timeout: { kind: "receipt_timeout", at },
    buffered: { kind: "buffered", at, carrierCode: "enroute" },
    delivered: { kind: "delivered", at, carrierCode: "" },
    failed: { kind: "failed", at, error, carrierCode: "9" },
  }[kind] as Report;
  const { organizationId } = target;
  const isReceipt = kind === "buffered" || kind === "delivered" || kind === "failed";
  if (!isReceipt || by === "id") {
    return {
      target: { organizationId, messageId: target.id },
      carrier: "sandbox",
      report,
      submit: isAnswer ? 1 : undefined,
    };
  }
  const spelled = {
    exact: id,
    hex: String(BigInt(`0x${id}`)),
    upper: id.toUpperCase(),
    unknown: `0${id}ff`,
  }[by];
  return { target: { carrier: "sandbox", carrierMessageId: spelled, organizationId }, report, receivedAt: at };
}

/** Performs an act on a store, and gives its result. */
async function perform(
  store: Store,
  world: World,
  given: Act,
  planned: { readonly message?: Message },
): Promise<unknown> {
  const { profile, numbers, now } = world;
  const { organizationId } = profile;
  const numberAt = (place: number) => numbers[place] as PhoneNumber;
  switch (given.do) {
    case "accept": {
      const message = planned.message as Message;
      const key = { organizationId, method: "m", key: `k-${given.to}` };
      const mapping = { organizationId, messagingProfileId: profile.id, to: message.to };
      const facts: unknown[] = [];
      await store.accept(
        { recipients: [{ ...mapping, sticky: true }], keys: given.key ? [key] : [], retries: [] },
        (found) => {
          facts.push(found.recipients, found.keys);
          if (given.key && found.keys[0] !== undefined) return {};
          return {
            messages: [message],
            mappings: [
              {
                ...mapping,
                phoneNumberId: numberAt(given.number).id,
                profileGeneration: 0,
                numberGeneration: 0,
                lastMessageAt: now,
              },
            ],
            keys: given.key
              ? [
                  {
                    ...key,
                    requestHash: new Uint8Array(32).fill(given.to),
                    response: new Uint8Array([1]),
                    createdAt: now,
                  },
                ]
              : [],
          };
        },
      );
      return facts;
    }
    case "schedule":
      return store.accept({ recipients: [], keys: [], retries: [] }, () => ({
        messages: [planned.message as Message],
      }));
    case "release": {
      const { messages, nextAt } = await store.listDueMessages(now, LIMIT);
      const lanes = await store.listWaitingLanes(LIMIT);
      const own = messages.filter((each) => each.organizationId === organizationId);
      const sender = numberAt(given.number);
      await store.releaseScheduled(own, (facts) => {
        const released = facts.map(({ message }): ReleasedMessage => {
          const at = now;
          if (given.end === "wait") return { message, at, retryAt: undefined };
          if (given.end === "later") return { message, at, retryAt: now + SECOND };
          if (given.end === "sending_failed") {
            const error = { reason: ErrorReason.NO_USABLE_NUMBERS, detail: "none" };
            return {
              message: { ...message, status: "sending_failed", completedAt: now, error },
              at,
              retryAt: undefined,
            };
          }
          const { decision } = aMessage(sender);
          const queued = { ...message, ...senderOf(sender), decision, status: "queued" as const, queuedAt: now };
          return { message: queued, at, retryAt: undefined };
        });
        return changesOfReleased(released);
      });
      return [messages.length, nextAt, lanes.length];
    }
    case "claim":
      return store.claim({
        now,
        owner: OWNERS[given.owner] as string,
        phoneNumberIds: numbers.map(({ id }) => id),
        budgets: given.budget === undefined ? new Map() : new Map([["sandbox", given.budget]]),
      });
    case "requeue": {
      const underWay = world.messages.slice(0, given.keep).map(({ id }) => id);
      return (await store.requeue(OWNERS[given.owner] as string, underWay, now)).phoneNumberIds.toSorted();
    }
    case "report":
      return store.applyReports(given.reports.flatMap((each) => reportOf(world, each) ?? []));
    case "cancel":
      return store.cancelMessage(
        organizationId,
        world.messages[given.message % (world.messages.length || 1)]?.id ?? "",
        now,
      );
    case "expire":
      return store.expireMessages(now, LIMIT);
    case "match":
      return store.matchReceipts({ now, after: undefined, limit: LIMIT });
    case "timeouts":
      return store.settleReceiptTimeouts({ sentBefore: now - HOUR, at: now, after: undefined, limit: LIMIT });
    case "settle":
      return (await store.synchronize({ owner: `settler-${world.settlers}`, now, backlog: [] })).settled;
    case "optOut": {
      const to = RECIPIENTS[given.to] as string;
      return store.addOptOut({
        organizationId,
        messagingProfileId: profile.id,
        to,
        phoneNumber: "",
        keyword: "STOP",
        createdAt: now,
      });
    }
    case "optIn":
      return store.removeOptOut({ organizationId, messagingProfileId: profile.id, to: RECIPIENTS[given.to] as string });
    case "state":
      return store.updateNumber(organizationId, numberAt(given.number).id, (each) => ({
        ...each,
        state: given.state,
        updatedAt: now,
      }));
    case "rate":
      return store.updateNumber(organizationId, numberAt(given.number).id, (each) => ({
        ...each,
        segmentsPerSecond: given.rate,
        dailySegmentLimit: given.limit,
        updatedAt: now,
      }));
    case "remove":
      return store.removeNumber(organizationId, numberAt(given.number).id);
    case "reset":
      return store.resetHealth(organizationId, numberAt(given.number).id, now);
    case "deleteProfile":
      return store.deleteProfile(organizationId, profile.id, now);
  }
}

/** A message that an act accepts: the same one for both stores. */
function messageOf(world: World, given: Act): Message | undefined {
  const { profile, numbers, now } = world;
  if (given.do === "accept") {
    const { to, parts } = given;
    const times = { receivedAt: now, queuedAt: now, validUntil: now + HOUR };
    return aMessage(numbers[given.number] as PhoneNumber, { to: RECIPIENTS[to] as string, parts, ...times });
  }
  if (given.do !== "schedule") return undefined;
  const sender = given.number === undefined ? {} : senderOf(numbers[given.number] as PhoneNumber);
  const sendAt = now + given.after;
  const times = { receivedAt: now, sendAt, validUntil: sendAt + HOUR };
  return aScheduled(profile, { to: RECIPIENTS[given.to] as string, ...times, ...sender });
}

/** Everything that can be read of a world. */
async function readBack(store: Store, { profile, numbers, messages, now }: World): Promise<unknown> {
  const { organizationId, id: messagingProfileId } = profile;
  const stored = await Promise.all(messages.map(({ id }) => store.getMessage(organizationId, id)));
  const events = await Promise.all(messages.map((message) => eventsOf(store, message)));
  const page = { after: undefined, limit: 1_000 };
  return {
    profile: await store.getProfile(organizationId, messagingProfileId),
    messages: stored,
    listed: (await store.listMessages(organizationId, page)).rows,
    events: events.map((each) => each.map(({ sequence: _, ...event }) => event)),
    numbers: await Promise.all(numbers.map(({ id }) => store.getNumber(organizationId, id))),
    pool: await Promise.all(numbers.map(({ id }) => store.loadPoolNumber(id))),
    traffic: [...(await store.listTraffic(organizationId, messagingProfileId, now))].toSorted(),
    recipients: await Promise.all(
      RECIPIENTS.map((to) => store.readRecipient({ organizationId, messagingProfileId, to })),
    ),
    optOuts: await store.listOptOuts(organizationId, { offset: 0, limit: 1_000 }),
    queues: (await store.listQueues(LIMIT)).toSorted((a, b) => (a.phoneNumberId < b.phoneNumberId ? -1 : 1)),
    queued: (await store.measureQueue()).messages,
    due: await store.listDueMessages(now, LIMIT),
    lanes: await store.listWaitingLanes(LIMIT),
  };
}

/**
 * Equal for two stores except for rounding, the order of sweeps, and absent or undefined fields.
 */
function comparable(value: unknown): unknown {
  if (typeof value === "number" && !Number.isInteger(value)) return Number(value.toPrecision(9));
  if (value instanceof Uint8Array) return [...value];
  if (value instanceof Map) return comparable([...value]);
  if (Array.isArray(value)) {
    const items = value.map(comparable);
    const isApplied = value.length > 0 && typeof value[0] === "object" && value[0] !== null && "reported" in value[0];
    return isApplied ? items.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : items;
  }
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key, each]) => each !== undefined && key !== "sequence");
  return Object.fromEntries(kept.map(([key, each]) => [key, comparable(each)]));
}

describe("Both stores", { timeout: 300_000 }, () => {
  let stores: readonly [Store, Store];
  const closing: (() => Promise<unknown>)[] = [];
  let settlers = 0;

  beforeAll(async () => {
    const sqlite = openInFolder();
    const postgres = await openPostgresStore(await freshDatabase(), { onLost: () => {}, chance: Math.random });
    closing.push(sqlite.dispose, postgres.close);
    stores = [sqlite.store, postgres];
  });
  afterAll(async () => {
    for (const close of closing) await close();
  });

  it("answer and keep the same, whatever happens to messages", async () => {
    await fc.assert(
      fc.asyncProperty(acts, async (history) => {
        const organization = anOrganization();
        const profile = aProfile(organization.id);
        const numbers = [0, 1, 2].map((place) => aNumber(profile, { segmentsPerSecond: place === 2 ? 50 : 1 }));
        const world: World = { profile, numbers, messages: [], now: NOON, settlers };
        for (const store of stores) {
          await store.insertOrganization(organization);
          await store.insertProfile(profile);
          for (const each of numbers) await store.insertNumber(each);
        }
        for (const { waitMs, act: given } of history) {
          world.now += waitMs;
          world.settlers = ++settlers;
          const message = messageOf(world, given);
          const answers = await Promise.all(
            stores.map(async (store) => comparable(await perform(store, world, given, message ? { message } : {}))),
          );
          expect(answers[1], given.do).toEqual(answers[0]);
          if (message !== undefined) world.messages.push(message);
        }
        const [one, other] = await Promise.all(stores.map(async (store) => comparable(await readBack(store, world))));
        expect(other).toEqual(one);
      }),
      { numRuns: 150 },
    );
  });

  it.each([
    ["opted out", HOUR, true, "sending_failed", ErrorReason.OPTED_OUT],
    ["did not opt out", HOUR, false, "sending_failed", ErrorReason.INVALID_FROM],
    ["opted out, past its valid_until", 0, true, "expired", ErrorReason.EXPIRED_IN_QUEUE],
  ])(
    "end a message of a removed number alike whose recipient %s",
    async (_what, validMs, isOptedOut, status, reason) => {
      for (const store of stores) {
        const organization = anOrganization();
        const profile = aProfile(organization.id);
        const from = aNumber(profile);
        const message = aMessage(from, { validUntil: NOON + validMs });
        await store.insertOrganization(organization);
        await store.insertProfile(profile);
        await store.insertNumber(from);
        await store.accept({ recipients: [], keys: [], retries: [] }, () => ({ messages: [message] }));
        const key = { organizationId: organization.id, messagingProfileId: profile.id, to: message.to };
        if (isOptedOut) await store.addOptOut({ ...key, phoneNumber: "", keyword: "STOP", createdAt: NOON });
        await store.removeNumber(organization.id, from.id);
        await store.claim({ now: NOON, owner: "process-1", phoneNumberIds: [from.id], budgets: new Map() });
        const ended = await store.getMessage(organization.id, message.id);
        expect([ended?.status, ended?.error?.reason]).toEqual([status, reason]);
      }
    },
  );
});
