import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { StickyMappingService } from "../../gen/numberpool/v1/sticky_mapping_service_pb.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshDatabase } from "../store/postgres-database.ts";
import { createGrpcClient, type GrpcClient, GrpcRefusal } from "./grpc-client.ts";
import { makePool, until } from "./pools.ts";

const { listMessages, listMessageEvents } = PoolSendService.method;
const { listStickyMappings } = StickyMappingService.method;
const INVALID_ARGUMENT = 3;
const TO = "+13125550100";

const cursorOf = (row: string) => Buffer.from(row, "utf8").toString("base64url");

const ID = "01900000-0000-7000-8000-000000000000";
/** Rows that no list returns. */
const ROWS = [
  ...["", "\0", "\0\0\0\0", "a\0b", `${ID}\0`, `\0${ID}`, "1\0", `${TO}\0`, ` ${ID}`, `${ID}\n`, `${TO}\n`, "1\n"],
  ...[ID.toUpperCase().replace("7", "A"), "01900000-0000-4000-8000-000000000000", "-1", "1.5", "1e3", "01", "NaN"],
  ...["9".repeat(16), "9".repeat(400), "' OR 1=1 --", "%", "\ud7ff\ue000", "\u{10ffff}", "x".repeat(100_000), "null"],
  ...["+", "+0", "13125550100", "+1312555010000000", "[object Object]", "../..", "\u0661"],
];
/** Strings that do not encode a row. */
const TEXTS = [
  "====",
  "AA==",
  "+/+/",
  "A",
  "_-_-",
  "%00",
  "\u00e9",
  "gICA",
  "/w",
  "7aCA",
  "ID==",
  " ",
  `${cursorOf(ID)}=`,
];

describe.each(["SQLite", "PostgreSQL"])("The cursors of every list on %s", (store) => {
  const folder = temporaryFolder();
  let server: TestServer;
  let grpc: GrpcClient;
  let profileId: string;
  let messageId: string;

  beforeAll(async () => {
    const database = store === "SQLite" ? `${folder.path}/numberpool.db` : await freshDatabase();
    server = await startServer({ database });
    grpc = createGrpcClient(server.grpc, API_KEY);
    const settings = { long_code_weight: 1, sticky_sender: true };
    ({ profileId } = await makePool(server, { profile: { number_pool_settings: settings } }));
    for (const to of [TO, "+13125550101", "+13125550103"]) {
      const send = { messaging_profile_id: profileId, to, text: "Hello" };
      const { status, body } = await server.json("POST", "/v2/messages/number_pool", send);
      expect(status).toBe(200);
      messageId = body.data.id;
    }
    await until(
      () => server.json("GET", `/v2/messages/${messageId}/events`),
      ({ body }) => body.data.length > 1,
    );
  }, 60_000);

  afterAll(async () => {
    grpc.close();
    expect(await server.stop()).toBe(0);
    folder.remove();
  });

  /** Each list: its path, its RPC, and the rows in its own cursors. */
  const lists = [
    {
      name: "messages",
      path: () => "/v2/messages",
      call: (after: string) => grpc.call(listMessages, { page: { after } }),
      isOwn: (row: string) => /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/.test(row),
    },
    {
      name: "events",
      path: () => `/v2/messages/${messageId}/events`,
      call: (after: string) => grpc.call(listMessageEvents, { id: messageId, page: { after } }),
      isOwn: (row: string) => /^(0|[1-9]\d{0,14})$/.test(row),
    },
    {
      name: "sticky mappings",
      path: () => `/v2/messaging_profiles/${profileId}/sticky_mappings`,
      call: (after: string) => grpc.call(listStickyMappings, { messagingProfileId: profileId, page: { after } }),
      isOwn: (row: string) => /^\+[1-9]\d{1,14}$/.test(row),
    },
  ];

  const expectRefused = async ({ path, call }: (typeof lists)[number], cursor: string) => {
    // A query of 100,000 characters is refused before it is read.
    if (cursor.length < 10_000) {
      const { status, body } = await server.json("GET", `${path()}?page[after]=${encodeURIComponent(cursor)}`);
      expect([cursor, status, body.errors?.[0].meta.reason]).toEqual([cursor, 400, "INVALID_FILTER"]);
      expect(body.errors[0].source).toEqual({ parameter: "page[after]" });
    }
    const refusal = (await call(cursor).then(
      () => "answered",
      (error) => error,
    )) as GrpcRefusal;
    expect(refusal).toBeInstanceOf(GrpcRefusal);
    expect([cursor, refusal.code, refusal.info?.reason]).toEqual([cursor, INVALID_ARGUMENT, "INVALID_FILTER"]);
    expect(refusal.fields).toEqual(["page.after"]);
  };

  it("lead to the next page, and those of other lists are refused", async () => {
    const cursors: string[] = [];
    for (const { path } of lists) {
      const first = await server.json("GET", `${path()}?page[size]=1`);
      const next = first.body.meta.next as string;
      const second = await server.json("GET", `${path()}?page[size]=1&page[after]=${next}`);
      expect([first.status, second.status, second.body.data.length]).toEqual([200, 200, 1]);
      expect(second.body.data[0]).not.toEqual(first.body.data[0]);
      cursors.push(next);
    }
    for (const [index, list] of lists.entries()) {
      for (const cursor of cursors) if (cursor !== cursors[index]) await expectRefused(list, cursor);
    }
  });

  it.each(lists)("are refused by their field if no list made them: $name", async (list) => {
    for (const text of [...ROWS.filter((row) => !list.isOwn(row)).map(cursorOf), ...TEXTS])
      await expectRefused(list, text);
  });

  it.each(lists)("are refused whatever their bytes: $name", async (list) => {
    const rows = fc.oneof(
      fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
      fc.string({ unit: fc.constantFrom(..."0123456789abcdef-+\0 "), minLength: 1, maxLength: 40 }),
      fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    );
    const cursors = fc.oneof(
      rows.filter((row) => !list.isOwn(row)).map(cursorOf),
      fc
        .uint8Array({ minLength: 1, maxLength: 40 })
        .map((bytes) => Buffer.from([...bytes, 0xff]).toString("base64url")),
    );
    await fc.assert(
      fc.asyncProperty(cursors, (cursor) => expectRefused(list, cursor)),
      { numRuns: 60 },
    );
    expect(server.stderr()).not.toMatch(/failed unexpectedly/);
  });
});
