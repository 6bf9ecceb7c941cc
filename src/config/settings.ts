import { z } from "zod";
import { apiKeyId } from "../domain/api-key.ts";
import { MESSAGE_RETENTION_MS, RECEIPT_WINDOW_MS, STICKY_LIFETIME_MS } from "../domain/limits.ts";
import { address, boolean, integer, number, path } from "./values.ts";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

const database = z
  .string()
  .min(1, "must not be empty")
  .regex(/^(?!\w+:\/\/)|^postgres(ql)?:\/\//, "must be the path of a SQLite file or a postgres:// URL");

const apiKey = z
  .string()
  .min(24, "must have at least 24 characters")
  .regex(/^[\x21-\x7e]+$/, "must contain only visible ASCII characters")
  .refine((token) => apiKeyId(token) !== "", "has the form of a Numberpool key, but a wrong checksum");

/**
 * Every setting but the carriers, by its name in the file. The type, the flags, the variables, the
 * help and the documented table all follow from these rows: a new setting is one more row.
 */
const ROWS = {
  http_address: row(address, "127.0.0.1:8080", "Where the JSON transport listens."),
  grpc_address: row(address, "127.0.0.1:50051", "Where the gRPC transport listens."),
  metrics_address: row(address, "127.0.0.1:9464", "Where `/metrics` listens, for Prometheus."),
  database: row(database, "numberpool.db", "A SQLite file, created if it does not exist, or a `postgres://` URL."),
  api_key: secret(apiKey, "A key of at least 24 characters to install, with all scopes in the default organization."),
  log_level: row(z.enum(LOG_LEVELS), "info", `One of ${LOG_LEVELS.join(", ")}.`),
  sample: row(boolean, true, "Whether an empty database gets a sample profile with numbers."),
  sticky_lifetime_seconds: row(
    integer(1, 10 * 365 * 86_400),
    STICKY_LIFETIME_MS / 1000,
    "How long a sticky mapping lives after the last message.",
  ),
  submit_timeout_seconds: row(
    integer(1, 3_600),
    60,
    "How long a submit waits for the carrier's answer before its outcome counts as unknown.",
  ),
  receipt_window_seconds: row(
    integer(1, 30 * 86_400),
    RECEIPT_WINDOW_MS / 1000,
    "How long a sent message waits for its receipt before it becomes `delivery_unconfirmed`.",
  ),
  message_retention_seconds: row(
    integer(0, 100 * 365 * 86_400),
    MESSAGE_RETENTION_MS / 1000,
    "How long ended messages are kept, counted from their acceptance; 0: without limit.",
  ),
  calls_per_second: row(
    number(0, 1_000_000),
    0,
    "The rate limit of each API key in calls a second, with bursts of one second; 0: no limit.",
  ),
  max_connections: row(
    integer(0, 1_000_000),
    0,
    "The most connections of the HTTP and of the gRPC port; 0: for each 40 % of the files that the process may open.",
  ),
  tls_certificate: optional(path, "The certificate chain of both ports, a PEM file."),
  tls_key: optional(path, "The private key of `tls_certificate`, a PEM file."),
  tls_client_authority: optional(
    path,
    "The authority that must have issued clients' certificates, a PEM file; without it clients need none.",
  ),
  allow_plaintext: row(boolean, false, "Whether non-loopback addresses serve without TLS, as behind a proxy."),
  allow_shared_numbers: row(boolean, false, "Whether several organizations may register the same phone number."),
};

/** The name of a setting in the file. */
export type SettingName = keyof typeof ROWS;

/** The schemas of the settings, by name. */
export type SettingSchemas = { readonly [Name in SettingName]: (typeof ROWS)[Name]["schema"] };

/** One setting. */
export type Setting = {
  /** Its name in the file. */
  readonly name: SettingName;
  /** Its environment variable, NUMBERPOOL_NAME. */
  readonly variable: string;
  /** Its flag without the dashes, name-with-hyphens. */
  readonly flag: string;
  readonly schema: z.ZodType;
  /** Undefined: the setting has no default. */
  readonly default: string | number | boolean | undefined;
  readonly description: string;
  /** Whether it is masked wherever settings are shown, and has no place on a command line. */
  readonly isSecret: boolean;
};

/** Every setting but the carriers, in the order of the help. */
export const SETTINGS: readonly Setting[] = Object.entries(ROWS).map(([name, fields]) => ({
  name: name as SettingName,
  variable: `NUMBERPOOL_${name.toUpperCase()}`,
  flag: name.replaceAll("_", "-"),
  ...fields,
}));

function row<Schema extends z.ZodType>(schema: Schema, value: string | number | boolean, description: string) {
  return { schema, default: value, description, isSecret: false };
}

function optional<Schema extends z.ZodType>(schema: Schema, description: string) {
  return { schema: schema.optional(), default: undefined, description, isSecret: false };
}

function secret<Schema extends z.ZodType>(schema: Schema, description: string) {
  return { ...optional(schema, description), isSecret: true };
}
