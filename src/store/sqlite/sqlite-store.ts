import { statSync } from "node:fs";
import { ErrorReason } from "../../../gen/numberpool/v1/error_reason_pb.ts";
import { Failure, failure } from "../../domain/failure.ts";
import { createChangeFeed } from "../change-feed.ts";
import type { Store, StoreOptions } from "../store.ts";
import { prepareAcceptance } from "./acceptance.ts";
import { prepareConfiguration } from "./configuration.ts";
import { prepareDispatch } from "./dispatch.ts";
import { prepareMessages } from "./messages.ts";
import { type Connection, codeOf, openConnection } from "./open.ts";
import { prepareRecipients } from "./recipients.ts";
import { prepareReports } from "./reports.ts";
import { prepareSchedule } from "./schedule.ts";
import { emptyLog } from "./write-ahead-log.ts";
import { prepareChanges } from "./write-changes.ts";

/** How often the file is looked at for changes that other processes made, milliseconds. */
const WATCH_INTERVAL = 500;
/** How often the log is looked at, milliseconds: it is emptied when nothing was written since, or every so many looks. */
const LOG_INTERVAL = 1_000;
const MAX_LOOKS = 10;

/** The store on one SQLite file, made and migrated if need be. Throws one sentence when it cannot be used. */
export function openSqliteStore(path: string, options: StoreOptions): Store {
  const db = openConnection(path);
  const configuration = prepareConfiguration(db);
  const recipients = prepareRecipients(db);
  const write = prepareChanges(db, recipients);
  const messages = prepareMessages(db, write);
  const acceptance = prepareAcceptance(db, messages, recipients);
  const schedule = prepareSchedule(db, recipients, write);
  const dispatch = prepareDispatch(db, recipients, write);
  const reports = prepareReports(db, write);
  const selectHold = db.prepare("SELECT min(held_since) FROM delivery_holds").pluck();
  const deleteHolds = db.prepare("DELETE FROM delivery_holds");
  const writeProbe = db.prepare("UPDATE write_probes SET count = count + 1");
  const forgetKeys = db.prepare(
    `DELETE FROM idempotency_keys WHERE (organization_id, method, key) IN
       (SELECT organization_id, method, key FROM idempotency_keys WHERE created_at < ? ORDER BY created_at LIMIT ?)`,
  );
  const forgetRecent = db.prepare(
    `DELETE FROM recent_sends WHERE (second, request_hash, message_id) IN
       (SELECT second, request_hash, message_id FROM recent_sends WHERE second < ? ORDER BY second LIMIT ?)`,
  );
  const forgetMappings = db.prepare(
    `DELETE FROM sticky_mappings WHERE (organization_id, messaging_profile_id, "to") IN
       (SELECT organization_id, messaging_profile_id, "to" FROM sticky_mappings WHERE last_message_at < ?
        ORDER BY last_message_at LIMIT ?)`,
  );

  const forgetReceipts = db.prepare(
    `DELETE FROM unmatched_receipts WHERE sequence IN
       (SELECT sequence FROM unmatched_receipts WHERE received_at < ? ORDER BY received_at LIMIT ?)`,
  );

  let dataVersion = db.pragma("data_version", { simple: true });
  /** Who serves this file: nobody else does, so that the others' rows are settled once. */
  let heartbeatOwner = "";
  let lost = false;
  /** What became of the file under us, one sentence. */
  let moved: string | undefined;

  const lose = (error: unknown) => {
    if (lost) return;
    lost = true;
    options.onLost(error);
  };

  /** What an error of the driver means to a caller. */
  const translate = (error: unknown): unknown => {
    const code = codeOf(error);
    if (error instanceof Failure || code === "") return error;
    if (/^SQLITE_(IOERR|CORRUPT|NOTADB|CANTOPEN)/.test(code)) {
      lose(error);
      return unavailable("The store failed.", error);
    }
    if (/^SQLITE_(FULL|BUSY|READONLY)/.test(code)) return unavailable("The store cannot be written now.", error);
    return error;
  };

  const run = async <Result>(work: () => Result): Promise<Result> => {
    if (lost) throw unavailable("The store failed.");
    try {
      return work();
    } catch (error) {
      throw translate(error);
    }
  };

  const feed = createChangeFeed(
    (after, limit) => run(() => configuration.changesAfter(after, limit)),
    configuration.lastChange(),
  );

  /** One transaction; IMMEDIATE, because one that turned from reading to writing would not wait for another writer. */
  const transact = async <Result>(work: () => Result): Promise<Result> => {
    // What is written into a file without a name ends with this process.
    if (moved !== undefined) throw unavailable(moved);
    return run(() => db.transaction(work).immediate());
  };

  /** A transaction that changes configuration: listeners have its changes before it resolves. */
  const configure = async <Result>(work: () => Result): Promise<Result> => {
    const result = await transact(work);
    // It is on disk: a listener that fails does not undo it.
    await deliverChanges().catch(() => {});
    return result;
  };

  /** Whether every listener has every change that was seen so far. */
  let isDelivered = true;
  let deliveries = 0;

  const deliverChanges = async () => {
    isDelivered = false;
    deliveries += 1;
    const delivery = deliveries;
    await feed.deliver();
    // A later one may have failed meanwhile.
    if (delivery === deliveries) isDelivered = true;
  };

  const watch = setInterval(() => {
    if (lost) return;
    try {
      const version = db.pragma("data_version", { simple: true });
      if (version === dataVersion && isDelivered) return;
      dataVersion = version;
      // A listener that fails gets the same change again the next time.
      deliverChanges().catch(() => {});
    } catch (error) {
      translate(error);
    }
  }, WATCH_INTERVAL);
  watch.unref();

  const { onMoved } = options;
  const guarded = (work: () => void) => () => {
    if (lost || moved !== undefined) return;
    try {
      work();
    } catch (error) {
      translate(error);
    }
  };
  const keepers: NodeJS.Timeout[] = [];
  if (onMoved !== undefined) {
    const keepLog = logKeeper(db, path);
    const files = [path, `${path}-wal`, `${path}-shm`];
    const opened = files.map(identityOf);
    const lookAtFiles = () => {
      const before = moved;
      const isInPlace = files.every((file, index) => identityOf(file) === opened[index]);
      moved = isInPlace ? undefined : MOVED;
      if (moved !== before) onMoved(moved);
    };
    guarded(() => emptyLog(db))();
    keepers.push(setInterval(lookAtFiles, WATCH_INTERVAL), setInterval(guarded(keepLog), LOG_INTERVAL));
    for (const keeper of keepers) keeper.unref();
  }

  return {
    name: path,
    delivery: { atOnce: 100, isBlocking: true },

    insertOrganization: (organization) => configure(() => configuration.insertOrganization(organization)),
    listOrganizations: () => run(configuration.listOrganizations),
    insertApiKey: (key) => configure(() => configuration.insertApiKey(key)),
    listApiKeys: () => run(configuration.listApiKeys),
    revokeApiKey: (id, at) => configure(() => configuration.revokeApiKey(id, at)),

    insertProfile: (profile) => configure(() => configuration.insertProfile(profile)),
    getProfile: (organizationId, id) => run(() => configuration.getProfile(organizationId, id)),
    listProfiles: (organizationId, query) => run(() => configuration.listProfiles(organizationId, query)),
    updateProfile: (organizationId, id, change) =>
      configure(() => configuration.updateProfile(organizationId, id, change)),
    deleteProfile: (organizationId, id, at) => configure(() => configuration.deleteProfile(organizationId, id, at)),
    unassignNumbers: (limit) => transact(() => configuration.unassignNumbers(limit)),

    insertNumber: (number, mayBeShared = false) => configure(() => configuration.insertNumber(number, mayBeShared)),
    insertNumbers: (numbers, mayBeShared = false) => configure(() => configuration.insertNumbers(numbers, mayBeShared)),
    listTaken: (organizationId, phoneNumbers) => run(() => configuration.listTaken(organizationId, phoneNumbers)),
    getNumber: (organizationId, id) => run(() => configuration.getNumber(organizationId, id)),
    listNumbers: (organizationId, query) => run(() => configuration.listNumbers(organizationId, query)),
    updateNumber: (organizationId, id, change) =>
      configure(() => configuration.updateNumber(organizationId, id, change)),
    resetHealth: (organizationId, id, at) => configure(() => configuration.resetHealth(organizationId, id, at)),
    removeNumber: (organizationId, id) => configure(() => configuration.removeNumber(organizationId, id)),

    countUnreachable: (carriers) => run(() => configuration.countUnreachable(carriers)),
    loadPool: (organizationId, id) => run(() => configuration.loadPool(organizationId, id)),
    listHealth: (limit, after) => run(() => configuration.listHealth(limit, after)),
    loadPoolNumber: (id) => run(() => configuration.loadPoolNumber(id)),

    accept: (reads, decide) =>
      transact(() => {
        write(decide(acceptance.readFacts(reads)));
      }),
    getMessage: (organizationId, id) => run(() => messages.get(organizationId, id)),
    listMessages: (organizationId, query) => run(() => messages.list(organizationId, query)),
    listMessageEvents: (organizationId, id, query) => run(() => messages.listEvents(organizationId, id, query)),
    cancelMessage: (organizationId, id, at) => transact(() => messages.cancel(organizationId, id, at)),
    listDueMessages: (now, limit) => run(() => schedule.listDue(now, limit)),
    listWaitingLanes: (limit, after) => run(() => schedule.listWaitingLanes(limit, after)),
    listWaitingMessages: (lanes, limit) => run(() => schedule.listWaiting(lanes, limit)),
    releaseScheduled: (reads, decide) => transact(() => schedule.release(reads, decide)),
    readRecipient: (key) => run(() => recipients.read(key, true)),
    listTraffic: (organizationId, profileId, now) => run(() => messages.listTraffic(organizationId, profileId, now)),

    listMappings: (list, query) => run(() => recipients.listMappings(list, query)),
    putMapping: (mapping) => transact(() => recipients.putMapping(mapping)),
    removeMapping: (key) => transact(() => recipients.removeMapping(key)),

    listOptOuts: (organizationId, query) => run(() => recipients.listOptOuts(organizationId, query)),
    addOptOut: (optOut) => transact(() => recipients.addOptOut(optOut)),
    removeOptOut: (key) => transact(() => recipients.removeOptOut(key)),

    measureQueue: () => run(dispatch.measureQueue),
    listQueues: (limit, after) => run(() => dispatch.listQueues(limit, after)),
    claim: (request) => transact(() => dispatch.claim(request)),
    readDeliveryHold: () => run(() => (selectHold.get() as number | null) ?? undefined),
    endDeliveryHold: () =>
      transact(() => {
        deleteHolds.run();
      }),
    requeue: (owner, underWay, now) =>
      transact(() => ({ phoneNumberIds: dispatch.requeue(owner, underWay, now), isSettled: true })),
    applyReports: (given) => transact(() => reports.applyReports(given)),
    matchReceipts: ({ now, after, limit }) => transact(() => reports.matchReceipts(now, after, limit)),
    settleReceiptTimeouts: ({ sentBefore, at, after, limit }) =>
      transact(() => reports.settleReceiptTimeouts(sentBefore, at, after, limit)),
    expireMessages: (now, limit) => transact(() => dispatch.expire(now, limit)),
    synchronize: async ({ owner, now }) => {
      const settled = owner === heartbeatOwner ? [] : await transact(() => reports.settleOthers(owner, now));
      heartbeatOwner = owner;
      return { backlog: [], health: [], settled };
    },

    forget: (before, limit) =>
      transact(
        () =>
          forgetKeys.run(before.keys, limit).changes +
          forgetRecent.run(Math.floor(before.recentSends / 1000), limit).changes +
          forgetMappings.run(before.stickyMappings, limit).changes +
          forgetReceipts.run(before.unmatchedReceipts, limit).changes,
      ),
    forgetMessages: ({ organizationId, before, after, limit }) =>
      transact(() => messages.forget(organizationId, before, after, limit)),
    readClock: undefined,
    probe: () =>
      transact(() => {
        writeProbe.run();
      }),
    watchConfiguration: feed.listen,
    close: async () => {
      clearInterval(watch);
      for (const keeper of keepers) clearInterval(keeper);
      if (onMoved !== undefined) guarded(() => emptyLog(db))();
      // The last one to close brings the log into the file. Asked for it by name, SQLite would keep others from writing meanwhile.
      db.close();
    },
  };
}

const MOVED = "The database file was deleted or replaced under the running server; put it back, or restart the server.";

/** Empties the log when nothing was written since the last look, and every `MAX_LOOKS` at the latest. */
function logKeeper(db: Connection, path: string): () => void {
  // Rows, not transactions: maintenance begins many that find nothing to do.
  const changes = db.prepare("SELECT total_changes()").pluck();
  let seen = changes.get();
  let looks = 0;
  return () => {
    const now = changes.get();
    const isIdle = now === seen;
    seen = now;
    looks += 1;
    if ((!isIdle && looks < MAX_LOOKS) || (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0) return;
    looks = 0;
    emptyLog(db);
  };
}

/** What tells a file from another one that takes its name; undefined when there is none. */
function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}

function unavailable(detail: string, cause?: unknown): Failure {
  const refused = failure(ErrorReason.UNAVAILABLE, `${detail} Try again, with the same idempotency key.`);
  refused.cause = cause;
  return refused;
}
