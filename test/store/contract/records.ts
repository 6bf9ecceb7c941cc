import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import type { AppliedReport, CarrierReport } from "../../../src/domain/carrier-report.ts";
import type { HealthCounts } from "../../../src/domain/health.ts";
import { createIds } from "../../../src/domain/ids.ts";
import type { Report } from "../../../src/domain/lifecycle.ts";
import type { Message, MessageSender, QueuedMessage } from "../../../src/domain/message.ts";
import type { MessageEvent } from "../../../src/domain/message-event.ts";
import type { MessagingProfile } from "../../../src/domain/messaging-profile.ts";
import type { PhoneNumber } from "../../../src/domain/phone-number-record.ts";
import type { Claim } from "../../../src/domain/plan/claims.ts";
import type { RecipientKey } from "../../../src/domain/recipient.ts";
import type { AcceptFacts, AcceptReads, AcceptWrites } from "../../../src/store/accept.ts";
import type { Organization } from "../../../src/store/organizations.ts";
import type { Store } from "../../../src/store/store.ts";

/** A Thursday, at which the records of these tests start. */
export const NOON = Date.UTC(2026, 0, 15, 12);
export const SECOND = 1_000;
export const HOUR = 3_600_000;
/** The UTC day of noon, in days since 1970. */
export const TODAY = 20_468;

/** Everything on one page. */
export const ALL = { offset: 0, limit: 1_000 };
export const ANY_NAME = { ...ALL, nameEquals: undefined, nameContains: undefined };

/** A policy that must not run. */
export const NEVER = () => {
  throw new Error("this policy must not run");
};

const ids = createIds(randomBytes);
let numbersMade = 0;

/** A new id; later ones sort after it. */
export function newId(): string {
  return ids(NOON);
}

/** A phone number that no test has used. */
export function newE164(): string {
  numbersMade += 1;
  return `+1312${String(2_000_000 + numbersMade)}`;
}

export function anOrganization(): Organization {
  const id = newId();
  return { id, name: `Organization ${id}`, createdAt: NOON };
}

export function aProfile(organizationId: string, given: Partial<MessagingProfile> = {}): MessagingProfile {
  return {
    organizationId,
    id: newId(),
    name: "Spring sale",
    enabled: true,
    webhookUrl: undefined,
    webhookFailoverUrl: undefined,
    whitelistedDestinations: ["US"],
    poolSettings: {
      longCodeWeight: 1,
      tollFreeWeight: 1,
      skipUnhealthy: false,
      stickySender: false,
      geomatch: false,
    },
    validityPeriodSeconds: 14_400,
    stickyGeneration: 0,
    createdAt: NOON,
    updatedAt: NOON,
    ...given,
  };
}

/** A number of a profile; give `messagingProfileId` undefined for an unassigned one. */
export function aNumber(profile: MessagingProfile, given: Partial<PhoneNumber> = {}): PhoneNumber {
  return {
    organizationId: profile.organizationId,
    id: newId(),
    phoneNumber: newE164(),
    messagingProfileId: profile.id,
    carrier: "sandbox",
    lineType: "long_code",
    segmentsPerSecond: 1,
    dailySegmentLimit: undefined,
    state: "active",
    countryCode: "US",
    tags: [],
    generation: 0,
    createdAt: NOON,
    updatedAt: NOON,
    ...given,
  };
}

/** A queued message from a number of a profile. */
export function aMessage(number: PhoneNumber, given: Partial<QueuedMessage> = {}): QueuedMessage {
  return {
    organizationId: number.organizationId,
    id: newId(),
    messagingProfileId: number.messagingProfileId as string,
    phoneNumberId: number.id,
    from: number.phoneNumber,
    carrier: number.carrier,
    lineType: number.lineType,
    to: "+12125550100",
    text: "Hello",
    encoding: "GSM-7",
    parts: 1,
    numChars: 5,
    webhookUrl: undefined,
    webhookFailoverUrl: undefined,
    useProfileWebhooks: true,
    status: "queued",
    decision: {
      rule: "weights",
      tier: undefined,
      poolSize: 1,
      eligible: 1,
      excluded: {
        weightZero: 0,
        paused: 0,
        carrierUnavailable: 0,
        draining: 0,
        unhealthy: 0,
        onTrial: 0,
        dailyLimit: 0,
        full: 0,
      },
      isFallback: false,
    },
    receivedAt: NOON,
    sendAt: undefined,
    queuedAt: NOON,
    sentAt: undefined,
    completedAt: undefined,
    validUntil: NOON + 4 * HOUR,
    waitSeconds: 0,
    submits: 0,
    error: undefined,
    ...given,
  };
}

/** A scheduled message of a profile, without a sender unless one is passed. */
export function aScheduled(profile: MessagingProfile, given: Partial<Message> = {}): Message {
  const sendAt = given.sendAt ?? NOON + HOUR;
  const { organizationId, id: messagingProfileId } = profile;
  const nobody = { phoneNumberId: undefined, from: undefined, carrier: undefined, lineType: undefined };
  const blank = aMessage(aNumber(profile), { organizationId, messagingProfileId });
  return {
    ...blank,
    ...nobody,
    status: "scheduled",
    decision: undefined,
    sendAt,
    queuedAt: undefined,
    validUntil: sendAt + 4 * HOUR,
    ...given,
  };
}

/** The fields of a message that come from its number. */
export function senderOf({ id, phoneNumber, carrier, lineType }: PhoneNumber): MessageSender {
  return { phoneNumberId: id, from: phoneNumber, carrier, lineType };
}

/** A new organization with a profile. */
export async function storeProfile(store: Store, given: Partial<MessagingProfile> = {}): Promise<MessagingProfile> {
  const organization = anOrganization();
  await store.insertOrganization(organization);
  const profile = aProfile(organization.id, given);
  await store.insertProfile(profile);
  return profile;
}

/** A new number of a profile, registered. */
export async function storeNumber(
  store: Store,
  profile: MessagingProfile,
  given: Partial<PhoneNumber> = {},
): Promise<PhoneNumber> {
  const number = aNumber(profile, given);
  expect((await store.insertNumber(number)).kind).toBe("written");
  return number;
}

/** New accepted messages from a number, one for each that is passed. */
export async function storeMessages(
  store: Store,
  number: PhoneNumber,
  ...given: Partial<QueuedMessage>[]
): Promise<QueuedMessage[]> {
  const messages = given.map((part) => aMessage(number, part));
  await write(store, { messages });
  return messages;
}

/** One new accepted message from a number. */
export async function storeMessage(
  store: Store,
  number: PhoneNumber,
  given: Partial<QueuedMessage> = {},
): Promise<QueuedMessage> {
  const [message] = await storeMessages(store, number, given);
  return message as QueuedMessage;
}

/** Accepts these messages, whatever the facts. */
export function write(store: Store, writes: Partial<AcceptWrites>): Promise<void> {
  return store.accept({ recipients: [], keys: [], retries: [] }, () => ({ ...NOTHING, ...writes }));
}

/** Reads facts and writes nothing; reads mappings unless `sticky` is false. */
export async function read(
  store: Store,
  reads: Partial<Omit<AcceptReads, "recipients">> & { readonly recipients?: readonly RecipientAsked[] },
): Promise<AcceptFacts> {
  let facts: AcceptFacts | undefined;
  const recipients = (reads.recipients ?? []).map((recipient) => ({ sticky: true, ...recipient }));
  await store.accept({ keys: [], retries: [], ...reads, recipients }, (given) => {
    facts = given;
    return NOTHING;
  });
  return facts as AcceptFacts;
}

type RecipientAsked = RecipientKey & { readonly sticky?: boolean };

/** The claim of an owner from one number at a moment. */
export async function claimOne(
  store: Store,
  number: PhoneNumber,
  now: number,
  owner = "process-1",
): Promise<Omit<Claim, "phoneNumberId">> {
  const claims = await store.claim({ now, owner, phoneNumberIds: [number.id], budgets: NO_BUDGETS });
  const claim = claims.find(({ phoneNumberId }) => phoneNumberId === number.id);
  const nothing = { carrier: undefined, messages: [], expired: [], waitsForCarrier: false, dueAt: undefined };
  return claim ?? { ...nothing, freeAt: Number.POSITIVE_INFINITY };
}

/** Carriers have no budget. */
export const NO_BUDGETS: ReadonlyMap<string, number> = new Map();

/** Settles as a new process, and gives the number of messages of processes that are gone. */
export async function settleOthers(store: Store, owner: string, now: number): Promise<number> {
  return (await store.synchronize({ owner, now, backlog: [] })).settled.length;
}

/** Reports about one message, by its own id, in one transaction. */
export function report(store: Store, message: Message, ...reports: Report[]): Promise<AppliedReport[]> {
  const target = { organizationId: message.organizationId, messageId: message.id };
  return store.applyReports(reports.map((one): CarrierReport => ({ target, report: one })));
}

/** All events of a message in the store. */
export async function eventsOf(store: Store, message: Message): Promise<MessageEvent[]> {
  const { organizationId, id } = message;
  return (await store.listMessageEvents(organizationId, id, { after: undefined, limit: 1_000 })).rows;
}

/** Ids, in order. */
export function idsOf(rows: readonly { readonly id: string }[]): string[] {
  return rows.map(({ id }) => id);
}

/** Counts that the database may have computed: equal except for rounding. */
export function expectHealth(actual: HealthCounts | undefined, expected: HealthCounts): void {
  expect(actual).toEqual({
    delivered: expect.closeTo(expected.delivered, 9),
    failed: expect.closeTo(expected.failed, 9),
    spam: expect.closeTo(expected.spam, 9),
    inbound: expect.closeTo(expected.inbound, 9),
    asOf: expected.asOf,
    resetAt: expected.resetAt,
  });
}

export const FAILED_BY_SENDER = { reason: ErrorReason.UNDELIVERABLE, detail: "The carrier could not deliver it." };
export const BLOCKED_AS_SPAM = {
  reason: ErrorReason.BLOCKED_AS_SPAM_TEMPORARY,
  detail: "The carrier took it for spam.",
};

const NOTHING: AcceptWrites = { messages: [], mappings: [], keys: [], recentSends: [] };
