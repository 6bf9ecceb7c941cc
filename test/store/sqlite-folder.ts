import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, expect } from "vitest";
import type { Changes } from "../../src/domain/plan/changes.ts";
import { codeOf } from "../../src/store/sqlite/open.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { Opened } from "./contract/subject.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/**
 * The path of a new database file, in a temporary folder that is removed after the tests of the
 * file.
 */
export function freshPath(): string {
  const folder = mkdtempSync(join(tmpdir(), "numberpool-store-"));
  folders.push(folder);
  return join(folder, "numberpool.db");
}

/** An empty SQLite database in a temporary folder of its own. */
export function openInFolder(): Required<Opened> & { readonly path: string } {
  const path = freshPath();
  const open: Store[] = [];
  const lost: unknown[] = [];
  const committed: Changes[] = [];
  const openOne = () => {
    const store = openSqliteStore(path, {
      onLost: (error) => lost.push(error),
      onCommitted: (changes) => committed.push(changes),
    });
    open.push(store);
    return store;
  };
  const store = openOne();
  return {
    path,
    store,
    committed,
    reopen: async () => {
      for (const each of open.splice(0)) await each.close();
      return openOne();
    },
    another: async () => openOne(),
    execute: async (sql) => {
      new Database(path).exec(sql).close();
    },
    dispose: async () => {
      for (const each of open.splice(0)) await each.close();
      rmSync(dirname(path), { recursive: true, force: true });
      expect(lost.map(codeOf)).toEqual([]);
    },
  };
}
