import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, describe, expect, it } from "vitest";
import { rowsOf } from "../../operation/program.ts";
import { startServer, temporaryFolder } from "../../server.ts";
import { jsonOf, numberpool, ONE_SENTENCE } from "../numberpool.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

afterAll(() => folder.remove());

describe("`migrate`", () => {
  it("creates a database, then finds it up to date, also beside the server that runs on it", async () => {
    const database = at("new.db");
    const made = await numberpool(database, "migrate");
    const [row] = rowsOf<{ user_version: number }>(database, "PRAGMA user_version");
    const version = row?.user_version ?? 0;
    expect(version).toBeGreaterThan(0);
    expect([made.code, made.stdout, made.stderr]).toEqual([0, `${database} was created with schema ${version}.\n`, ""]);
    const server = await startServer({ database });
    const again = await numberpool(database, "migrate");
    expect([again.code, again.stdout]).toEqual([0, `${database} already has schema ${version}.\n`]);
    expect(await jsonOf(database, "migrate")).toEqual({ database, from: version, to: version });
    expect(await server.stop()).toBe(0);
  });

  it("leaves the database of a newer program alone, and says so where it cannot be used", async () => {
    await jsonOf(at("newer.db"), "migrate");
    const newer = new Database(at("newer.db"));
    newer.pragma("user_version = 1000");
    expect(await jsonOf(at("newer.db"), "migrate")).toEqual({ database: at("newer.db"), from: 1_000, to: 1_000 });
    newer.exec("UPDATE schema_compatibility SET minimum_program_version = 1000");
    const { code, stdout, stderr } = await numberpool(at("newer.db"), "migrate");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr).toContain("newer Numberpool");
    expect(newer.pragma("user_version", { simple: true })).toBe(1_000);
    newer.close();
  });

  it("of a file that is not a database is refused in one sentence that names it", async () => {
    writeFileSync(at("text.db"), "phone_number\n".repeat(1_000));
    const [text, nowhere] = await Promise.all([
      numberpool(at("text.db"), "migrate"),
      numberpool(at("missing/x.db"), "migrate"),
    ]);
    for (const { code, stdout, stderr } of [text, nowhere]) {
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(ONE_SENTENCE);
    }
    expect(text.stderr).toBe(`numberpool: ${at("text.db")}: file is not a database.\n`);
    expect(nowhere.stderr).toContain(at("missing/x.db"));
    expect(existsSync(at("missing"))).toBe(false);
  });
});
