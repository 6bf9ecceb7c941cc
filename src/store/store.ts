import type { AppliedReport, CarrierReport } from "../domain/carrier-report.ts";
import type { HealthCounts } from "../domain/health.ts";
import type { IdempotencyKey, IdempotencyRecord, RetryKey } from "../domain/idempotency.ts";
import type { Message, MessageStatus } from "../domain/message.ts";
import type { MessageEvent } from "../domain/message-event.ts";
import type { MessagingProfile } from "../domain/messaging-profile.ts";
import type { PhoneNumber } from "../domain/phone-number-record.ts";
import type { Changes } from "../domain/plan/changes.ts";
import type { Claim, ClaimRequest } from "../domain/plan/claims.ts";
import type { Cancelled } from "../domain/plan/endings.ts";
import type { RecipientFacts, RecipientKey, StickyMapping } from "../domain/recipient.ts";
import type { Heartbeat, PeerUpdates, QueuedNumber, Swept } from "./delivery-records.ts";
import type { ApiKey, Organization } from "./organization-records.ts";
import type { AssignedHealth, PoolRow, PoolRows } from "./pool-records.ts";
import type { EventQuery, MappingList, MappingQuery, NumberQuery, OptOutQuery, ProfileQuery } from "./queries.ts";
import type { DecideScheduled, DueMessages, ScheduledRead, WaitingLane } from "./schedule-records.ts";
import type { Trials } from "./trials.ts";

/**
 * What the house asks of a database. Every method is one transaction of its own, and what it resolves with is on disk. Functions
 * that are handed in are pure policies: they run inside the transaction, must not wait for anything, and by throwing take the whole
 * transaction back. No connection is ever taken or given. Times are milliseconds since 1970.
 *
 * Failures: a store that cannot be written rejects with the reason UNAVAILABLE; after an input or output error of the disk it
 * reports the process as lost (see StoreOptions.onLost) and rejects everything.
 */
export type Store = {
  /** A short name for logs and the ready line, without secrets. */
  readonly name: string;
  /** How delivery is to use this store, so that sends beside it don't feel it. */
  readonly delivery: {
    /** Messages, reports or numbers in one transaction: a few milliseconds. */
    readonly atOnce: number;
    /** Whether a transaction holds up the whole process; then delivery rests as long as it works while callers are served. */
    readonly isBlocking: boolean;
  };

  readonly insertOrganization: (organization: Organization) => Promise<void>;
  readonly listOrganizations: () => Promise<Organization[]>;
  readonly insertApiKey: (key: ApiKey) => Promise<void>;
  readonly listApiKeys: () => Promise<ApiKey[]>;
  /** False when there is no such key. */
  readonly revokeApiKey: (id: string, at: number) => Promise<boolean>;

  readonly insertProfile: (profile: MessagingProfile) => Promise<void>;
  readonly getProfile: (organizationId: string, id: string) => Promise<MessagingProfile | undefined>;
  /** Newest first. */
  readonly listProfiles: (organizationId: string, query: ProfileQuery) => Promise<Counted<MessagingProfile>>;
  /** Undefined when there is no such profile. */
  readonly updateProfile: (
    organizationId: string,
    id: string,
    change: (profile: MessagingProfile) => MessagingProfile,
  ) => Promise<MessagingProfile | undefined>;
  /**
   * Gives what it was. It and its numbers' membership are gone at once, to whoever reads them; the numbers' rows are rewritten in the small
   * steps of `unassignNumbers`.
   */
  readonly deleteProfile: (organizationId: string, id: string, at: number) => Promise<MessagingProfile | undefined>;
  /** Rewrites up to `most` numbers of a profile that was deleted. Gives how many, and whether there may be more to do. */
  readonly unassignNumbers: (most: number) => Promise<{ readonly unassigned: number; readonly isMore: boolean }>;

  /** Registers a number. One that another organization registered is refused, unless it `mayBeShared`. */
  readonly insertNumber: (number: PhoneNumber, mayBeShared?: boolean) => Promise<NumberWritten>;
  /** Many at once, of one organization: what became of each, in the same order. Those that can be written are. */
  readonly insertNumbers: (numbers: readonly PhoneNumber[], mayBeShared?: boolean) => Promise<NumberWritten["kind"][]>;
  /** Which of these phone numbers other organizations registered. */
  readonly listTaken: (organizationId: string, phoneNumbers: readonly string[]) => Promise<string[]>;
  /** Numbers are found by id or by +E.164. */
  readonly getNumber: (organizationId: string, idOrPhoneNumber: string) => Promise<NumberFound | undefined>;
  /** By phone number. */
  readonly listNumbers: (organizationId: string, query: NumberQuery) => Promise<Counted<NumberFound>>;
  readonly updateNumber: (
    organizationId: string,
    idOrPhoneNumber: string,
    change: (number: PhoneNumber) => PhoneNumber,
  ) => Promise<NumberWritten>;
  /** Forgets what outcomes said about a number, those of messages that were submitted before `at` for good, and gives it. */
  readonly resetHealth: (organizationId: string, idOrE164: string, at: number) => Promise<NumberFound | undefined>;
  /** Gives what it was. What it still had queued becomes `sending_failed` afterwards, in the small steps of `claim`. */
  readonly removeNumber: (organizationId: string, idOrPhoneNumber: string) => Promise<NumberFound | undefined>;

  /** Numbers that are reached through none of these carriers, by carrier. */
  readonly countUnreachable: (carriers: readonly string[]) => Promise<ReadonlyMap<string, number>>;
  /** The profile with all its numbers, as a pool is built from them; undefined when there is no such profile. */
  readonly loadPool: (organizationId: string, profileId: string) => Promise<PoolRows | undefined>;
  /** The health of numbers that are assigned, whatever their organization, by id; one call looks at no more than `most` numbers. */
  readonly listHealth: (most: number, after?: string) => Promise<Continued<AssignedHealth>>;
  /** One number with its traffic, whatever its organization; undefined when there is none. */
  readonly loadPoolNumber: (id: string) => Promise<PoolRow | undefined>;

  /**
   * Reads what a group of sends needs, has `decide` decide them all, and writes what it gives, in one transaction. When the
   * transaction fails, `decide` may have run: what it did must then be taken back by the caller. It may also run again, when the
   * database took the transaction back for the sake of another: each run must first take back what the one before did.
   */
  readonly accept: (reads: AcceptReads, decide: (facts: AcceptFacts) => AcceptWrites) => Promise<void>;
  readonly getMessage: (organizationId: string, id: string) => Promise<Message | undefined>;
  /** What happened to a message, oldest first; nothing for an unknown one. */
  readonly listMessageEvents: (
    organizationId: string,
    messageId: string,
    query: EventQuery,
  ) => Promise<Continued<MessageEvent>>;
  /** Cancels a message that is still scheduled or queued. */
  readonly cancelMessage: (organizationId: string, id: string, at: number) => Promise<Cancelled>;
  /** Scheduled messages that are due at `now`, the earliest first, and when the next one will be. Those that wait for room are left out. */
  readonly listDueMessages: (now: number, most: number) => Promise<DueMessages>;
  /** Lanes in which due messages wait for room: a page of them, behind `after`. Its cost is the lanes, not the messages. */
  readonly listWaitingLanes: (most: number, after?: WaitingLane) => Promise<WaitingLane[]>;
  /** Messages that wait for room in these lanes, by `send_at`, at most `most` of each. */
  readonly listWaitingMessages: (lanes: readonly WaitingLane[], most: number) => Promise<ScheduledRead[]>;
  /**
   * Reads those of the messages named that are still scheduled, with what is known of their recipients, has `decide` decide them, and
   * writes what it gives, in one transaction. `decide` is held to the same as that of `accept`.
   */
  readonly releaseScheduled: (reads: readonly ScheduledRead[], decide: DecideScheduled) => Promise<void>;
  /** Newest first. One call looks at no more than `LIST_SCAN` messages. */
  readonly listMessages: (organizationId: string, query: MessageQuery) => Promise<Continued<Message>>;
  /** What a send to this recipient would find. */
  readonly readRecipient: (key: RecipientKey) => Promise<RecipientFacts>;
  /** Messages that left from each number of a profile lately (see `HALF_LIFE_MS`), by number; numbers without any are left out. */
  readonly listTraffic: (
    organizationId: string,
    profileId: string,
    now: number,
  ) => Promise<ReadonlyMap<string, number>>;

  /** By recipient. Mappings that are void or too old are left out. One call looks at no more than `LIST_SCAN` mappings. */
  readonly listMappings: (key: MappingList, query: MappingQuery) => Promise<Continued<StickyMapping>>;
  readonly putMapping: (mapping: StickyMapping) => Promise<void>;
  /** Gives what it was; undefined when there is none. */
  readonly removeMapping: (key: RecipientKey) => Promise<StickyMapping | undefined>;

  /** Newest first. */
  readonly listOptOuts: (organizationId: string, query: OptOutQuery) => Promise<Counted<OptOut>>;
  /** Gives what is noted then: the one that was there already, if there was one. */
  readonly addOptOut: (optOut: OptOut) => Promise<OptOut>;
  /** Gives what it was; undefined when there is none. */
  readonly removeOptOut: (key: RecipientKey) => Promise<OptOut | undefined>;

  /** How many messages are queued, and the id of the one that was accepted first. */
  readonly measureQueue: () => Promise<{ readonly messages: number; readonly oldestId: string | undefined }>;
  /** Numbers that have messages queued, with the moment each may next be claimed; by id, at most `most`, from those behind `after` on. */
  readonly listQueues: (most: number, after?: string) => Promise<QueuedNumber[]>;
  /**
   * Claims numbers that are due: takes from each queue, oldest first, what `domain/pace.ts` allows, marks it `sending` with `owner` and
   * the number's carrier, and sets when the number is due again. Paused numbers, those not due and those of a carrier that takes
   * nothing more give no messages; what waited until its valid_until expires. What a number that is gone left in its queue becomes
   * `sending_failed`, at most `MAX_LEFT_BEHIND` messages in one claim.
   */
  readonly claim: (request: ClaimRequest) => Promise<Claim[]>;
  /**
   * Puts messages back into their queues that `owner` claimed and knows nothing of, because the claim's answer was lost: those that are
   * being sent and not among `underWay`, by id. To be called while nothing is being claimed, and again until it is settled.
   */
  readonly requeue: (owner: string, underWay: readonly string[], now: number) => Promise<Requeued>;
  /** Since when delivery is held, because the database is a restored backup; undefined: it is not. */
  readonly readDeliveryHold: () => Promise<number | undefined>;
  /** Ends the hold of delivery for good. */
  readonly endDeliveryHold: () => Promise<void>;
  /**
   * Applies what carriers reported, in order, with the rule of `domain/lifecycle.ts`; gives what each report did. A receipt is about the
   * message that has exactly its id. One that fits no message is kept, and applied as soon as a carrier's answer has exactly its id.
   */
  readonly applyReports: (reports: readonly CarrierReport[]) => Promise<AppliedReport[]>;
  /**
   * Applies kept receipts that name a message in another form than its carrier's answer, where `plan-match.ts` allows it. One call looks
   * at `most` receipts, from a cursor on.
   */
  readonly matchReceipts: (request: {
    readonly now: number;
    readonly after: string | undefined;
    readonly most: number;
  }) => Promise<Swept>;
  /**
   * Applies `receipt_timeout` to messages that the carrier took before `sentBefore` and that no receipt came for. One call looks at `most`
   * messages that were sent, from a cursor on.
   */
  readonly settleReceiptTimeouts: (request: {
    readonly sentBefore: number;
    readonly at: number;
    readonly after: string | undefined;
    readonly most: number;
  }) => Promise<Swept>;
  /** Expires messages that are still queued or scheduled at `now` though their valid_until passed, the earliest first. */
  readonly expireMessages: (now: number, most: number) => Promise<AppliedReport[]>;
  /**
   * Called once a second by a process that sends: tells the others that it lives and what it put into queues, and gives what changed
   * elsewhere. What processes that are gone were sending is settled as never answered: on SQLite, where a process serves alone, that is
   * everybody else; on PostgreSQL those that were silent for `SILENCE` (see delivery-records.ts).
   */
  readonly synchronize: (heartbeat: Heartbeat) => Promise<PeerUpdates>;

  /** Forgets what is older than the moments given, at most `most` of each kind. */
  readonly forget: (
    before: { keys: number; recentSends: number; stickyMappings: number; unmatchedReceipts: number },
    most: number,
  ) => Promise<number>;
  /**
   * Forgets messages that ended, with their events: one call looks at `most` messages of one organization with ids between the
   * cursor and `before`, and gives the cursor to go on from.
   */
  readonly forgetMessages: (request: {
    readonly organizationId: string;
    /** An id, or the beginning of one: see `earliestId`. */
    readonly before: string;
    readonly after: string | undefined;
    readonly most: number;
  }) => Promise<{ readonly forgotten: number; readonly next: string | undefined }>;
  /** The database server's time, milliseconds since 1970; undefined where one process has the database to itself. */
  readonly readClock: (() => Promise<number>) | undefined;
  /** Writes and reads back; rejects when the store cannot be written. */
  readonly probe: () => Promise<void>;
  /**
   * Tells of every configuration change, made here or by another process (within a second), in order; a change made here before its
   * promise resolves. A listener that rejects is told again later, and holds up no other. It must not wait for a change of its own.
   * Returns how to stop.
   */
  readonly watchConfiguration: (listener: (change: ConfigurationChange) => Promise<void>) => () => void;
  readonly close: () => Promise<void>;
};

/** What a store is opened with. */
export type StoreOptions = {
  /** Called once when the disk failed: the process must end, so that the next start reads the truth. */
  readonly onLost: (error: unknown) => void;
  /**
   * Given by the process that serves: on SQLite it keeps the log short and watches that the file stays in place. Called when the
   * file was deleted or replaced, with one sentence; everything that writes is refused until it is back (undefined).
   */
  readonly onMoved?: (detail: string | undefined) => void;
};

export type Counted<Row> = { readonly rows: Row[]; readonly total: number };

/** A page of a list that can grow without bound; `next` is the cursor of the next page. */
export type Continued<Row> = { readonly rows: Row[]; readonly next: string | undefined };

/** How many rows a filtered list looks at in one call, so that a rare match does not hold up the sends: a few milliseconds. */
export const LIST_SCAN = 2_000;

export type MessageQuery = {
  /** The cursor: an id; the list goes on with older ones. */
  readonly after: string | undefined;
  readonly limit: number;
  readonly messagingProfileId?: string | undefined;
  readonly to?: string | undefined;
  readonly from?: string | undefined;
  readonly status?: MessageStatus | undefined;
  /** The id of the oldest message in a span of time, and the one behind the newest, or beginnings of ids: see `earliestId`. */
  readonly fromId?: string | undefined;
  readonly beforeId?: string | undefined;
};

/** Where a scan of a list begins and ends: it looks at ids below `below`, down to `fromId`. */
export function scanOf({ after, fromId = "", beforeId = AFTER_ALL }: MessageQuery): { below: string; fromId: string } {
  return { below: after !== undefined && after < beforeId ? after : beforeId, fromId };
}

/** Sorts behind every id. */
const AFTER_ALL = "g";

export type OptOut = RecipientKey & {
  /** The number of ours that was answered, or "". */
  readonly phoneNumber: string;
  readonly keyword: string;
  readonly createdAt: number;
};

export type NumberFound = { readonly number: PhoneNumber; readonly health: HealthCounts };

/** What became of writing a number. */
export type NumberWritten =
  | ({ readonly kind: "written" } & NumberFound)
  | { readonly kind: "exists" }
  /** Another organization registered it. */
  | { readonly kind: "taken" }
  | { readonly kind: "unknownNumber" }
  | { readonly kind: "unknownProfile" };

/** What went back into queues. */
export type Requeued = {
  /** The numbers whose queues it is in, once for each message. */
  readonly phoneNumberIds: readonly string[];
  /** False while a transaction of this process whose answer was lost may still be committed: it may have claimed more. */
  readonly isSettled: boolean;
};

/** What a group of sends must know; the facts come back in the same order. */
export type AcceptReads = {
  /** `sticky`: the mapping is wanted too. */
  readonly recipients: readonly (RecipientKey & { readonly sticky: boolean })[];
  readonly keys: readonly IdempotencyKey[];
  readonly retries: readonly RetryKey[];
  /**
   * Hashes of sends that a client may repeat without a key. A store that processes share holds them until the commit has ended, for all
   * firsts together, and those of `retries` for one alone: see `inFlight`.
   */
  readonly firstAttempts?: readonly Uint8Array[];
};

/** A hash as a key of sets and maps. */
export function hashTextOf(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString("latin1");
}

export type AcceptFacts = {
  /** Numbers on trial that an earlier run picked, and that must not be picked: see `Trials`. */
  readonly occupied?: readonly string[] | undefined;
  readonly recipients: readonly RecipientFacts[];
  readonly keys: readonly (IdempotencyRecord | undefined)[];
  /** The hashes, by `hashTextOf`, that another transaction holds: what it leaves is not known yet, and nothing of theirs may be accepted. */
  readonly inFlight?: ReadonlySet<string> | undefined;
  /** The latest message that an equal send left. */
  readonly retries: readonly (Message | undefined)[];
};

/** What a group of sends changes. */
export type AcceptWrites = Changes & Trials;

export type ConfigurationChange = {
  readonly kind: "messaging_profile" | "phone_number" | "api_key";
  readonly organizationId: string;
  readonly id: string;
};
