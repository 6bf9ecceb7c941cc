import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { apiKeyId, hashOfToken } from "../../../src/domain/api-key.ts";
import { makePool, numbersAt, rowsOf, sendTo } from "../../operation/program.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../../server.ts";
import { jsonOf, numberpool, ONE_SENTENCE } from "../numberpool.ts";

const folder = temporaryFolder();
let database: string;
let files = 0;

beforeEach(() => {
  files += 1;
  database = join(folder.path, `keys-${files}.db`);
});

afterAll(() => folder.remove());

/** True when the text is in no file of the folder. */
function isWrittenNowhere(secret: string): boolean {
  return readdirSync(folder.path).every((file) => !readFileSync(join(folder.path, file)).includes(secret));
}

describe("`key create`", () => {
  it("creates database, organization and key, and prints token and id once", async () => {
    const { code, stdout, stderr } = await numberpool(database, "key", "create", "--organization", "Bäckerei & Co");
    expect([code, stderr]).toEqual([0, ""]);
    const [token = "", id = "", ...rest] = stdout.split("\n");
    expect(rest).toEqual([""]);
    expect(apiKeyId(token)).toMatch(/^\w{12}$/);
    expect(id).toBe(`id: ${apiKeyId(token)}`);
    expect(rowsOf(database, "SELECT name FROM organizations")).toEqual([{ name: "Bäckerei & Co" }]);
    expect(rowsOf(database, "SELECT id, name, secret_hash, scopes, revoked_at FROM api_keys")).toEqual([
      {
        id: apiKeyId(token),
        name: "",
        secret_hash: hashOfToken(token),
        scopes: "send read report admin",
        revoked_at: null,
      },
    ]);
    expect(isWrittenNowhere(token.slice(-50))).toBe(true);
  });

  it("takes an existing organization, a name and scopes", async () => {
    const first = await jsonOf(database, "key", "create", "--organization", "a");
    const more = ["--name", "Till 4", "--scopes", "read, send,read"];
    const second = await jsonOf(database, "key", "create", "--organization", "a", ...more);
    expect(second).toEqual({
      id: apiKeyId(second.token),
      token: expect.any(String),
      organization_id: first.organization_id,
      organization: "a",
      name: "Till 4",
      scopes: ["send", "read"],
    });
    expect(first.scopes).toEqual(["send", "read", "report", "admin"]);
    expect(second.token).not.toBe(first.token);
  });

  it("refuses invalid scopes and names, and creates nothing", async () => {
    const refusals: [string[], string][] = [
      [
        ["--organization", "a", "--scopes", "send,write"],
        '--scopes takes send, read, report, admin, separated by commas, not "write".',
      ],
      [
        ["--organization", "a", "--scopes", ""],
        '--scopes takes send, read, report, admin, separated by commas, not "".',
      ],
      [["--organization", ""], "--organization must have 1 to 255 characters."],
      [["--organization", "a", "--name", "\u001b[2J"], "--name must not contain control characters."],
      [["--organization", "a", "--name", "x".repeat(256)], "--name must have 0 to 255 characters."],
    ];
    const outcomes = refusals.map(async ([args, error]) => {
      const outcome = await numberpool(database, "key", "create", ...args);
      expect(outcome).toEqual({ code: 1, stdout: "", stderr: `numberpool: ${error}\n` });
    });
    await Promise.all(outcomes);
    expect(existsSync(database)).toBe(false);
  });

  it("reports in one sentence that a database cannot be created, without the password of a URL", async () => {
    const [nowhere, url] = await Promise.all([
      numberpool(join(folder.path, "missing", "x.db"), "key", "create", "--organization", "a"),
      numberpool("postgres://me:s3cr3t@127.0.0.1:1/db", "key", "create", "--organization", "a"),
    ]);
    for (const { code, stdout, stderr } of [nowhere, url]) {
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(ONE_SENTENCE);
    }
    expect(nowhere.stderr).toContain(join("missing", "x.db"));
    expect(url.stderr).not.toContain("s3cr3t");
  });
});

describe("`key list`", () => {
  it("shows every key without its secret, for people and for machines", async () => {
    const a = await jsonOf(database, "key", "create", "--organization", "a", "--name", "Till 4", "--scopes", "send");
    const b = await jsonOf(database, "key", "create", "--organization", "b b");
    await jsonOf(database, "key", "revoke", a.id);
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const keyA = {
      id: a.id,
      organization_id: a.organization_id,
      organization: "a",
      name: "Till 4",
      scopes: ["send"],
      created_at: time,
      revoked_at: time,
    };
    const keyB = {
      ...keyA,
      id: b.id,
      organization_id: b.organization_id,
      organization: "b b",
      name: "",
      scopes: ["send", "read", "report", "admin"],
      revoked_at: null,
    };
    const [all, ofB, people, none] = await Promise.all([
      jsonOf(database, "key", "list"),
      jsonOf(database, "key", "list", "--organization", "b b"),
      numberpool(database, "key", "list"),
      numberpool(database, "key", "list", "--organization", "c"),
    ]);
    expect(all).toEqual([keyA, keyB]);
    expect(ofB).toEqual([keyB]);
    const [head, ...lines] = people.stdout.trimEnd().split("\n");
    expect(head).toMatch(/^ID +ORGANIZATION +NAME +SCOPES +CREATED +REVOKED$/);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(new RegExp(`^${a.id} +a +Till 4 +send +\\S+Z +\\S+Z$`));
    expect(lines[1]).toMatch(new RegExp(`^${b.id} +b b +- +send,read,report,admin +\\S+Z +-$`));
    expect(JSON.stringify(all) + people.stdout).not.toMatch(/np_live|hash/);
    expect([none.code, none.stdout]).toEqual([1, ""]);
    expect(none.stderr).toMatch(ONE_SENTENCE);
  });
});

describe("`key revoke`", () => {
  it("says one sentence, and the same moment when it is repeated", async () => {
    const { id } = await jsonOf(database, "key", "create", "--organization", "a");
    const first = await numberpool(database, "key", "revoke", id);
    expect([first.code, first.stdout, first.stderr]).toEqual([0, `The key ${id} is revoked.\n`, ""]);
    const [row] = rowsOf<{ revoked_at: number }>(database, "SELECT revoked_at FROM api_keys");
    const when = new Date(row?.revoked_at ?? 0).toISOString();
    const second = await numberpool(database, "key", "revoke", id);
    expect([second.code, second.stdout]).toEqual([0, `The key ${id} has been revoked since ${when}.\n`]);
  });

  it("of an unknown key ends with 1 and does not repeat an id that may be a token", async () => {
    const { token } = await jsonOf(database, "key", "create", "--organization", "a");
    const { code, stdout, stderr } = await numberpool(database, "key", "revoke", token);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr).not.toContain(token.slice(0, 20));
    expect(rowsOf(database, "SELECT revoked_at FROM api_keys")).toEqual([{ revoked_at: null }]);
  });
});

describe("Without a database", () => {
  it.each([[["key", "list"]], [["key", "revoke", "x"]]])("%j creates none", async (args) => {
    const { code, stdout, stderr } = await numberpool(database, ...args);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(`numberpool: Database ${database} does not exist; choose another with --database.\n`);
    expect(existsSync(database)).toBe(false);
  });
});

describe("Beside a running server", () => {
  let server: TestServer;
  let profile: string;

  beforeAll(async () => {
    server = await startServer({ database: join(folder.path, "served.db") });
    profile = await makePool(server, numbersAt(100, 2));
  });

  afterAll(() => server?.stop());

  const statusWith = async (token: string, verb = "GET", path = "/v2/messaging_profiles", body?: unknown) =>
    (await server.json(verb, path, body, { authorization: `Bearer ${token}` })).status;

  it("a new key is taken and a revoked one refused within a second, and others stay", async () => {
    const { id, token } = await jsonOf(server.database, "key", "create", "--organization", "default");
    await vi.waitFor(async () => expect(await statusWith(token)).toBe(200), { timeout: 1_000, interval: 10 });
    await jsonOf(server.database, "key", "revoke", id);
    await vi.waitFor(async () => expect(await statusWith(token)).toBe(401), { timeout: 1_000, interval: 10 });
    expect(await statusWith(API_KEY)).toBe(200);
  });

  it("a command does not block the server's writes when it ends beside a long reader", async () => {
    const reader = new Database(server.database, { readonly: true });
    reader.exec("BEGIN");
    reader.prepare("SELECT count(*) FROM messages").get();
    let isOver = false;
    let slowest = 0;
    const sending = (async () => {
      while (!isOver) {
        const since = performance.now();
        await sendTo(server, profile, "+13125550100");
        slowest = Math.max(slowest, performance.now() - since);
      }
    })();
    await jsonOf(server.database, "key", "create", "--organization", "default");
    isOver = true;
    await sending;
    reader.close();
    // A command that waits for the reader waits five seconds.
    expect(slowest).toBeLessThan(3_000);
  });

  it("a key may do what its scopes say, in its own organization", async () => {
    const create = ["key", "create", "--organization"] as const;
    const [reader, stranger] = await Promise.all([
      jsonOf(server.database, ...create, "default", "--scopes", "read"),
      jsonOf(server.database, ...create, "another"),
    ]);
    const path = `/v2/messaging_profiles/${profile}`;
    await vi.waitFor(async () => expect(await statusWith(reader.token, "GET", path)).toBe(200), { timeout: 1_000 });
    await vi.waitFor(async () => expect(await statusWith(stranger.token, "GET", path)).toBe(404), { timeout: 1_000 });
    const message = { messaging_profile_id: profile, to: "+13125550100", text: "Hello" };
    expect(await statusWith(reader.token, "POST", "/v2/messages/number_pool", message)).toBe(403);
    expect(
      await statusWith(stranger.token, "POST", "/v2/messaging_profiles", {
        name: "Its own",
        whitelisted_destinations: ["US"],
      }),
    ).toBe(200);
    expect(server.stderr()).toBe("");
  });
});
