import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { ErrorReason } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { openConnection } from "../../src/store/sqlite/open.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { storeMessage, storeNumber, storeProfile } from "./contract/records.ts";
import { storeContract } from "./contract.ts";
import { freshPath, openInFolder } from "./sqlite-folder.ts";

storeContract("SQLite", async () => openInFolder());

describe("A SQLite file", () => {
  const settingsOf = (path: string) => {
    const db = openConnection(path);
    const settings = ["journal_mode", "synchronous", "foreign_keys"].map((name) => db.pragma(name, { simple: true }));
    db.close();
    return settings;
  };

  it("uses WAL and syncs every commit, from the first open on and after every later one", () => {
    const path = freshPath();
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
    const careless = new Database(path);
    careless.pragma("journal_mode = DELETE");
    careless.pragma("synchronous = OFF");
    careless.close();
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
  });

  it("is synced by every connection, also beside open ones", () => {
    const path = freshPath();
    const first = openConnection(path);
    expect(settingsOf(path)).toEqual(["wal", 2, 1]);
    expect(first.pragma("synchronous", { simple: true })).toBe(2);
    first.close();
  });

  it("that is migrated already stays unchanged", async () => {
    const path = freshPath();
    const shapeOf = () => {
      const db = openConnection(path);
      const tables = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").all();
      const version = db.pragma("user_version", { simple: true });
      const needed = db.prepare("SELECT * FROM schema_compatibility").all();
      db.close();
      return { tables, version, needed };
    };
    const fresh = shapeOf();
    const store = openSqliteStore(path, { onLost: () => {} });
    const profile = await storeProfile(store);
    await store.close();
    expect(shapeOf()).toEqual(fresh);
    const again = openSqliteStore(path, { onLost: () => {} });
    expect(await again.getProfile(profile.organizationId, profile.id)).toEqual(profile);
    await again.close();
  });

  it("of a newer program that it requires is refused in one sentence, and stays unchanged", () => {
    const path = freshPath();
    openConnection(path).close();
    const newer = new Database(path);
    newer.pragma("user_version = 1000");
    newer.exec("UPDATE schema_compatibility SET minimum_program_version = 1000");
    let message = "";
    try {
      openSqliteStore(path, { onLost: () => {} });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.replace(path, "The file")).toMatch(/^The file [^.\n]*schema 1000[^.\n]*newer Numberpool[^.\n]*\.$/);
    expect(newer.pragma("user_version", { simple: true })).toBe(1_000);
    expect(newer.prepare("SELECT minimum_program_version FROM schema_compatibility").pluck().get()).toBe(1_000);
    newer.close();
  });

  it("of a newer program that does not require it is used, and keeps its version", async () => {
    const path = freshPath();
    openConnection(path).close();
    const newer = new Database(path);
    newer.pragma("user_version = 1000");
    newer.close();
    const store = openSqliteStore(path, { onLost: () => {} });
    await storeProfile(store);
    await store.close();
    const after = openConnection(path);
    expect(after.pragma("user_version", { simple: true })).toBe(1_000);
    after.close();
  });

  it("that is no database is refused", () => {
    const path = freshPath();
    writeFileSync(path, "phone_number,carrier\n".repeat(500));
    expect(() => openSqliteStore(path, { onLost: () => {} })).toThrow("not a database");
  });

  it("that is damaged is reported as lost once, and every later call is refused", async () => {
    const path = freshPath();
    const before = openSqliteStore(path, { onLost: () => {} });
    const profile = await storeProfile(before);
    const message = await storeMessage(before, await storeNumber(before, profile));
    await before.close();
    spoil(path, "messages_by_id");

    const lost: unknown[] = [];
    const store = openSqliteStore(path, { onLost: (error) => lost.push(error) });
    const unavailable = { refusal: { reason: ErrorReason.UNAVAILABLE } };
    expect(await store.getProfile(profile.organizationId, profile.id)).toEqual(profile);
    const reading = () => store.getMessage(message.organizationId, message.id);
    await expect(reading()).rejects.toMatchObject(unavailable);
    expect(lost).toHaveLength(1);
    await expect(reading()).rejects.toMatchObject(unavailable);
    await expect(store.getProfile(profile.organizationId, profile.id)).rejects.toMatchObject(unavailable);
    await expect(store.probe()).rejects.toMatchObject(unavailable);
    await expect(store.listOrganizations()).rejects.toMatchObject(unavailable);
    expect(lost).toHaveLength(1);
    await store.close();
  });
});

/** Overwrites the first page of an index, so that the file opens and a query fails. */
function spoil(path: string, index: string): void {
  const db = new Database(path);
  const page = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?").pluck().get(index) as number;
  const size = db.pragma("page_size", { simple: true }) as number;
  db.pragma("journal_mode = DELETE");
  db.close();
  const file = openSync(path, "r+");
  writeSync(file, Buffer.alloc(size, 0xff), 0, size, (page - 1) * size);
  closeSync(file);
}
