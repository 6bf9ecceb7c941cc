import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import Database from "better-sqlite3";
import { Client as PostgresClient } from "pg";
import {
  PoolSendService,
  type SendMessageRequest,
  SendMessageRequestSchema,
} from "../gen/numberpool/v1/pool_send_service_pb.ts";
import { createApiKey } from "../src/domain/api-key.ts";
import { type Child, startChild } from "./child.ts";
import type { Filled } from "./fill.ts";
import { AREA_CODES, grpcItem, jsonItem, type Target } from "./requests.ts";

/** The program under test on a new database, with a profile of 100 numbers. */
export type Program = Target & {
  readonly pid: number;
  readonly httpPort: number;
  readonly grpcPort: number;
  /** A send's response, from the JSON transport, and from the gRPC transport in base64. */
  readonly sampleJson: string;
  readonly sampleGrpc: string;
  /** Seconds from start to ready line. */
  readonly secondsToReady: number;
  /** The count of messages on disk, of one status or all. */
  readonly countStored: (status?: string) => Promise<number>;
  readonly stop: () => Promise<void>;
};

/** 84 long codes over all area codes and 16 toll-free numbers: about 5 to 1, like the weights. */
const NUMBERS = Array.from({ length: 100 }, (_, index) => {
  const areaCode = index < 84 ? AREA_CODES[index % AREA_CODES.length] : "800";
  return `+1${areaCode}555${2000 + index}`;
});

/**
 * The default pace of a number: the queues together hold 540,000 messages, and the dispatcher sends
 * 50 a second.
 */
const SEGMENTS_PER_SECOND = 0.5;

/** The default settings of the profile. */
const POOL_SETTINGS = { long_code_weight: 5, toll_free_weight: 1, skip_unhealthy: true };

export type ProgramOptions = {
  /** Flags of the runtime. */
  readonly nodeArgs: readonly string[];
  /** Overrides of the profile's settings. */
  readonly poolSettings: object;
  readonly segmentsPerSecond?: number;
  /** A database to serve instead of a new one. */
  readonly filled?: Filled;
  /** Makes an empty PostgreSQL database and returns its URL; undefined: SQLite. */
  readonly createDatabase?: (() => Promise<string>) | undefined;
};

/**
 * Starts `numberpool serve` with its defaults: authentication, checks, metrics, the log, and every
 * commit synced to disk.
 */
export async function startProgram({
  nodeArgs,
  poolSettings,
  segmentsPerSecond,
  filled,
  createDatabase,
}: ProgramOptions): Promise<Program> {
  const folder = mkdtempSync(join(tmpdir(), "numberpool-bench-"));
  const { token } = createApiKey(randomBytes);
  const database = (await createDatabase?.()) ?? filled?.path ?? join(folder, "numberpool.db");
  let child: Child | undefined;
  const stop = async () => {
    await child?.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const started = performance.now();
    child = startChild(
      process.execPath,
      [...nodeArgs, join(import.meta.dirname, "../bin/numberpool.js"), "serve", "--no-sample"],
      {
        NUMBERPOOL_DATABASE: database,
        NUMBERPOOL_HTTP_ADDRESS: "127.0.0.1:0",
        NUMBERPOOL_GRPC_ADDRESS: "127.0.0.1:0",
        NUMBERPOOL_METRICS_ADDRESS: "127.0.0.1:0",
        NUMBERPOOL_API_KEY: token,
        NUMBERPOOL_LOG_LEVEL: "info",
      },
    );
    const { http, grpc } = JSON.parse(await child.line) as { http: string; grpc: string };
    const secondsToReady = (performance.now() - started) / 1000;
    const call = async (verb: string, path: string, body?: unknown) => {
      const answer = await fetch(`http://${http}${path}`, {
        method: verb,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${verb} ${path}: ${answer.status} ${text}`);
      return text;
    };
    const profile = {
      name: "Benchmark",
      whitelisted_destinations: ["US"],
      number_pool_settings: { ...POOL_SETTINGS, ...poolSettings },
    };
    const profileId: string =
      filled?.profileId ?? JSON.parse(await call("POST", "/v2/messaging_profiles", profile)).data.id;
    for (const number of filled === undefined ? NUMBERS : []) {
      const record = {
        phone_number: number,
        messaging_profile_id: profileId,
        segments_per_second: segmentsPerSecond ?? SEGMENTS_PER_SECOND,
      };
      await call("POST", "/v2/phone_numbers", record);
    }
    const target = { token, profileId };
    const sampleJson = await call("POST", "/v2/messages/number_pool", jsonItem(target, 0));
    return {
      pid: child.pid,
      ...target,
      httpPort: portOf(http),
      grpcPort: portOf(grpc),
      sampleJson,
      sampleGrpc: await sampleOf(grpc, token, create(SendMessageRequestSchema, grpcItem(target, 0))),
      secondsToReady,
      countStored: (status) => countStored(database, status),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function countStored(database: string, status: string | undefined): Promise<number> {
  if (!database.startsWith("postgres")) {
    const db = new Database(database, { readonly: true });
    const count = db.prepare("SELECT count(*) FROM messages WHERE status = coalesce(?, status)").pluck().get(status);
    db.close();
    return count as number;
  }
  const client = new PostgresClient(database);
  await client.connect();
  const { rows } = await client.query("SELECT count(*) FROM messages WHERE status = coalesce($1, status)", [status]);
  await client.end();
  return Number(rows[0].count);
}

/** The response of the gRPC transport to a send, in base64. */
function sampleOf(address: string, token: string, request: SendMessageRequest): Promise<string> {
  const client = new Client(address, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${PoolSendService.typeName}/SendMessage`,
      (message: SendMessageRequest) => Buffer.from(toBinary(SendMessageRequestSchema, message)),
      (bytes: Buffer) => bytes.toString("base64"),
      request,
      metadata,
      (error, answer) => {
        client.close();
        if (error === null && answer !== undefined) resolve(answer);
        else reject(error);
      },
    );
  });
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}
