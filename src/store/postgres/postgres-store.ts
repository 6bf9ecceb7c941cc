import type { Store, StoreOptions } from "../store.ts";
import { accept } from "./acceptance.ts";
import { claim, expireMessages, requeue } from "./claim.ts";
import { createChangeTeller } from "./configuration-changes.ts";
import { type DatabaseOptions, openDatabase } from "./database.ts";
import { listEvents } from "./events.ts";
import { endDeliveryHold, forget, probe, readClock, readDeliveryHold } from "./keeping.ts";
import { cancelMessage, forgetMessages, getMessage, listMessages, listTraffic } from "./messages.ts";
import { migrate } from "./migrate.ts";
import {
  getNumber,
  insertNumber,
  insertNumbers,
  listNumbers,
  listTaken,
  removeNumber,
  resetHealth,
  updateNumber,
} from "./numbers.ts";
import { insertApiKey, insertOrganization, listApiKeys, listOrganizations, revokeApiKey } from "./organizations.ts";
import { countUnreachable, listHealth, loadPool, loadPoolNumber } from "./pool-rows.ts";
import { createExchange } from "./processes.ts";
import { deleteProfile, getProfile, insertProfile, listProfiles, unassignNumbers, updateProfile } from "./profiles.ts";
import { listQueues, measureQueue } from "./queues.ts";
import {
  addOptOut,
  listMappings,
  listOptOuts,
  putMappings,
  readRecipient,
  removeMapping,
  removeOptOut,
} from "./recipients.ts";
import { applyReports, matchReceipts, settleReceiptTimeouts } from "./reports.ts";
import { listDueMessages, listWaitingLanes, listWaitingMessages, releaseScheduled } from "./schedule.ts";
import type { Session } from "./session.ts";

/**
 * The store on a PostgreSQL database that is there, migrated if need be. Throws one sentence when it cannot be used. It never
 * reports the process as lost: the server answers for its disk, and what it did not acknowledge is not there.
 */
export async function openPostgresStore(url: string, options: StoreOptions & DatabaseOptions): Promise<Store> {
  await migrate(url);
  const database = await openDatabase(url, options);
  const changes = await createChangeTeller(url, database).catch(async (error) => {
    await database.close();
    throw error;
  });
  const exchange = createExchange(database);
  const { read, transact } = database;

  let configuring: Promise<unknown> = Promise.resolve();

  /**
   * A transaction that changes configuration: its changes are told before it resolves. One at a time, so that many of them do not
   * take every connection while they wait for each other.
   */
  const configure = async <Result>(work: (session: Session) => Promise<Result>): Promise<Result> => {
    const configured = configuring.then(() => transact(work));
    configuring = configured.catch(() => {});
    const result = await configured;
    // It is committed: that somebody could not be told yet does not undo it.
    await changes.tell().catch(() => {});
    return result;
  };

  /** A transaction of which some results are known only when it has been committed. */
  const transactAnd = async <Result>(work: (session: Session) => Promise<() => Promise<Result>>): Promise<Result> => {
    const result = await transact(work);
    return result();
  };

  /** Carriers, with organizations, whose receipts have shown that they keep the ids of the answers; on disk already. */
  const reportMemory = { exactCarriers: new Set<string>(), doubtedUntil: 0 };

  return {
    name: database.name,
    delivery: { atOnce: 500, isBlocking: false },

    insertOrganization: (organization) => transact((session) => insertOrganization(session, organization)),
    listOrganizations: () => listOrganizations(database),
    insertApiKey: (key) => configure((session) => insertApiKey(session, key)),
    listApiKeys: () => listApiKeys(database),
    revokeApiKey: (id, at) => configure((session) => revokeApiKey(session, id, at)),

    insertProfile: (profile) => configure((session) => insertProfile(session, profile)),
    getProfile: (organizationId, id) => getProfile(database, organizationId, id),
    listProfiles: (organizationId, query) => read((session) => listProfiles(session, organizationId, query)),
    updateProfile: (organizationId, id, change) =>
      configure((session) => updateProfile(session, organizationId, id, change)),
    deleteProfile: (organizationId, id, at) => configure((session) => deleteProfile(session, organizationId, id, at)),
    unassignNumbers: (limit) => transact((session) => unassignNumbers(session, limit)),

    insertNumber: (number, mayBeShared = false) => configure((session) => insertNumber(session, number, mayBeShared)),
    insertNumbers: (numbers, mayBeShared = false) =>
      configure((session) => insertNumbers(session, numbers, mayBeShared)),
    listTaken: (organizationId, phoneNumbers) => listTaken(database, organizationId, phoneNumbers),
    getNumber: (organizationId, id) => getNumber(database, organizationId, id),
    listNumbers: (organizationId, query) => read((session) => listNumbers(session, organizationId, query)),
    updateNumber: (organizationId, id, change) =>
      configure((session) => updateNumber(session, organizationId, id, change)),
    resetHealth: (organizationId, id, at) => configure((session) => resetHealth(session, organizationId, id, at)),
    removeNumber: (organizationId, id) => configure((session) => removeNumber(session, organizationId, id)),

    countUnreachable: (carriers) => read((session) => countUnreachable(session, carriers)),
    loadPool: (organizationId, id) => read((session) => loadPool(session, organizationId, id)),
    listHealth: (limit, after) => listHealth(database, limit, after),
    loadPoolNumber: (id) => loadPoolNumber(database, id),

    accept: (reads, decide) => transact((session) => accept(session, reads, decide)),
    getMessage: (organizationId, id) => getMessage(database, organizationId, id),
    listMessages: (organizationId, query) => read((session) => listMessages(session, organizationId, query)),
    listMessageEvents: (organizationId, id, query) => listEvents(database, organizationId, id, query),
    cancelMessage: (organizationId, id, at) => transact((session) => cancelMessage(session, organizationId, id, at)),
    listDueMessages: (now, limit) => listDueMessages(database, now, limit),
    listWaitingLanes: (limit, after) => listWaitingLanes(database, limit, after),
    listWaitingMessages: (lanes, limit) => listWaitingMessages(database, lanes, limit),
    releaseScheduled: (reads, decide) => transact((session) => releaseScheduled(session, reads, decide)),
    readRecipient: (key) => readRecipient(database, key),
    listTraffic: (organizationId, profileId, now) => listTraffic(database, organizationId, profileId, now),

    listMappings: (list, query) => read((session) => listMappings(session, list, query)),
    putMapping: (mapping) => transact(async (session) => putMappings(session, [mapping])),
    removeMapping: (key) => removeMapping(database, key),

    listOptOuts: (organizationId, query) => read((session) => listOptOuts(session, organizationId, query)),
    addOptOut: (optOut) => transact((session) => addOptOut(session, optOut)),
    removeOptOut: (key) => removeOptOut(database, key),

    measureQueue: () => measureQueue(database),
    listQueues: (limit, after) => listQueues(database, limit, after),
    claim: (request) => transact((session) => claim(session, request)),
    readDeliveryHold: () => readDeliveryHold(database),
    endDeliveryHold: () => endDeliveryHold(database),
    expireMessages: (now, limit) => transact((session) => expireMessages(session, now, limit)),
    requeue: async (owner, underWay, now) => {
      // Asked first: what is committed after this look was not settled at it.
      const isSettled = await database.isSettled();
      const phoneNumberIds = await transact((session) => requeue(session, owner, underWay, now));
      return { phoneNumberIds, isSettled };
    },
    applyReports: async (reports) => {
      const applied = await applyReports(transactAnd, reports, reportMemory);
      exchange.learned(applied);
      return applied;
    },
    matchReceipts: async (request) => {
      const swept = await transactAnd((session) => matchReceipts(session, request));
      exchange.learned(swept.applied);
      return swept;
    },
    settleReceiptTimeouts: async (request) => {
      const swept = await transactAnd((session) => settleReceiptTimeouts(session, request));
      exchange.learned(swept.applied);
      return swept;
    },
    synchronize: exchange.synchronize,

    forget: (before, limit) => transact((session) => forget(session, before, limit)),
    forgetMessages: ({ organizationId, before, after, limit }) =>
      transact((session) => forgetMessages(session, organizationId, before, after, limit)),
    readClock: () => readClock(database),
    probe: () => probe(database),
    watchConfiguration: changes.listen,
    close: async () => {
      await changes.close();
      await database.close();
    },
  };
}
