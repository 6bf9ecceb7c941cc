import { readFileSync } from "node:fs";
import { parse as parseYaml, YAMLParseError } from "yaml";
import { z } from "zod";
import { SANDBOX, type SandboxBehaviour, type SandboxOptions } from "./carriers/sandbox.ts";
import { isDeliveryCode } from "./domain/delivery-error.ts";
import { MESSAGE_RETENTION_MS, RECEIPT_WINDOW_MS, STICKY_LIFETIME_MS } from "./domain/limits.ts";
import { apiKeyId } from "./transport/api-key.ts";

/** Where a server listens. Port 0 takes a free one. */
export type Address = { readonly host: string; readonly port: number };

/** Everything that can be configured, checked. */
export type Config = {
  readonly httpAddress: Address;
  readonly grpcAddress: Address;
  readonly metricsAddress: Address;
  /** A file path, or a `postgres://` URL. */
  readonly database: string;
  /** A key to install at start. */
  readonly apiKey: string | undefined;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly sample: boolean;
  readonly stickyLifetimeSeconds: number;
  readonly submitTimeoutSeconds: number;
  readonly receiptWindowSeconds: number;
  /** How long messages that ended are kept; 0: for ever. */
  readonly messageRetentionSeconds: number;
  /** Calls a second of each API key; 0 for no limit. */
  readonly callsPerSecond: number;
  /** Connections that the HTTP and the gRPC port each take at once; 0: as many as the limit on open files allows. */
  readonly maxConnections: number;
  /** Files in PEM; undefined: plaintext. */
  readonly tlsCertificate: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsClientAuthority: string | undefined;
  /** Whether plaintext may be served on other than loopback addresses. */
  readonly allowPlaintext: boolean;
  /** Whether several organizations may register one phone number. */
  readonly allowSharedNumbers: boolean;
  readonly carriers: ReadonlyMap<string, CarrierConfig>;
};

/** A configured carrier; `type` says which kind. */
export type CarrierConfig = { readonly type: "sandbox" } & SandboxOptions;

/** A setting that is in effect, as people read it. */
export type SettingInEffect = {
  readonly name: string;
  /** As the file would hold it, defaults filled in and secrets masked; null: none. */
  readonly value: unknown;
  /** Where it came from: a flag, a variable, the path of the file, or "the default". */
  readonly source: string;
};

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

const address = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5}$/, "must be host:port")
  .transform((text, context): Address => {
    const at = text.lastIndexOf(":");
    const port = Number(text.slice(at + 1));
    if (port > 65_535) context.addIssue({ code: "custom", message: "has a port above 65535" });
    return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port };
  });

const flag = z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]);
const path = z.string().min(1, "must not be empty");
/** Numbers come as text from flags and the environment; anything else, an empty value too, is no number. */
const number = z.union([z.number(), z.string().trim().min(1).transform(Number).pipe(z.number())], "must be a number");
const between = (least: number, most: number) => z.number().min(least).max(most);
const count = (least: number, most: number) => number.pipe(between(least, most).int());

const behaviour = {
  latency_milliseconds: count(0, 600_000),
  receipt_after_milliseconds: count(0, 86_400_000),
  success_ratio: number.pipe(between(0, 1)),
  failure_code: z
    .union([z.string(), z.number().transform(String)])
    .refine(isDeliveryCode, "is no documented code of a failure"),
};
const sandbox = z
  .strictObject({
    type: z.literal("sandbox"),
    latency_milliseconds: behaviour.latency_milliseconds.default(SANDBOX.latency),
    receipt_after_milliseconds: behaviour.receipt_after_milliseconds.default(SANDBOX.receiptAfter),
    success_ratio: behaviour.success_ratio.default(SANDBOX.successRatio),
    failure_code: behaviour.failure_code.default(SANDBOX.failureCode),
    segments_per_second: number.pipe(between(0, 1_000_000)).default(SANDBOX.segmentsPerSecond),
    ledger: path.optional(),
    numbers: z.record(z.string().regex(/^\+\d+$/, "must be +E.164"), z.strictObject(behaviour).partial()).default({}),
  })
  .transform(
    (given): CarrierConfig => ({
      type: given.type,
      ...sandboxBehaviour(given),
      segmentsPerSecond: given.segments_per_second,
      ledger: given.ledger,
      numbers: Object.fromEntries(
        Object.entries(given.numbers).map(([number, own]) => [number, sandboxBehaviour(own)]),
      ),
    }),
  );

/** One setting: what the file calls it. The environment calls it NUMBERPOOL_…, the command line --…. */
export type Setting = {
  readonly name: string;
  readonly description: string;
  /** As text, for people; undefined: none. */
  readonly default: string | undefined;
  /** Never shown. */
  readonly isSecret?: boolean;
};

/** Every setting but the carriers, which only the file can hold. The README's table is checked against this. */
export const SETTINGS: readonly Setting[] = [
  { name: "http_address", default: "127.0.0.1:8080", description: "Where the JSON transport listens." },
  { name: "grpc_address", default: "127.0.0.1:50051", description: "Where the gRPC transport listens." },
  { name: "metrics_address", default: "127.0.0.1:9464", description: "Where Prometheus finds `/metrics`." },
  {
    name: "database",
    default: "numberpool.db",
    description: "A SQLite file, made if need be, or a `postgres://` URL.",
  },
  {
    name: "api_key",
    default: undefined,
    isSecret: true,
    description: "A key of 24 characters or more to install, with all scopes in the default organization.",
  },
  { name: "log_level", default: "info", description: `One of ${LOG_LEVELS.join(", ")}.` },
  { name: "sample", default: "true", description: "Whether an empty database gets a sample profile with numbers." },
  {
    name: "sticky_lifetime_seconds",
    default: String(STICKY_LIFETIME_MS / 1000),
    description: "How long a sticky mapping lives after the last message.",
  },
  {
    name: "submit_timeout_seconds",
    default: "60",
    description: "How long a carrier's answer is waited for before the outcome counts as unknown.",
  },
  {
    name: "receipt_window_seconds",
    default: String(RECEIPT_WINDOW_MS / 1000),
    description: "How long a receipt is waited for before a sent message becomes `delivery_unconfirmed`.",
  },
  {
    name: "message_retention_seconds",
    default: String(MESSAGE_RETENTION_MS / 1000),
    description: "How long messages that ended are kept, counted from their acceptance; 0 for ever.",
  },
  {
    name: "calls_per_second",
    default: "0",
    description: "Calls a second that each API key may make, in bursts of one second's worth; 0 for no limit.",
  },
  {
    name: "max_connections",
    default: "0",
    description:
      "Connections that the HTTP and the gRPC port each take at once; 0 for 40 % each of the files that the process may open.",
  },
  { name: "tls_certificate", default: undefined, description: "The certificate chain of both transports, a PEM file." },
  { name: "tls_key", default: undefined, description: "Its private key, a PEM file." },
  {
    name: "tls_client_authority",
    default: undefined,
    description: "The authority whose certificates clients must show, a PEM file.",
  },
  {
    name: "allow_plaintext",
    default: "false",
    description: "Whether to serve without TLS on other than loopback addresses, as behind a proxy.",
  },
  {
    name: "allow_shared_numbers",
    default: "false",
    description: "Whether several organizations may register the same phone number.",
  },
];

const schema = z.strictObject({
  http_address: address,
  grpc_address: address,
  metrics_address: address,
  database: z
    .string()
    .min(1, "must not be empty")
    .regex(/^(?!\w+:\/\/)|^postgres(ql)?:\/\//, "must be the path of a SQLite file or a postgres:// URL"),
  api_key: z
    .string()
    .min(24, "must have 24 characters or more")
    .regex(/^[\x21-\x7e]+$/, "must be visible ASCII")
    .refine((token) => apiKeyId(token) !== "", "has the shape of our keys, but its checksum is wrong")
    .optional(),
  log_level: z.enum(LOG_LEVELS),
  sample: flag,
  sticky_lifetime_seconds: count(1, 10 * 365 * 86_400),
  submit_timeout_seconds: count(1, 3_600),
  receipt_window_seconds: count(1, 30 * 86_400),
  message_retention_seconds: count(0, 100 * 365 * 86_400),
  calls_per_second: number.pipe(between(0, 1_000_000)),
  max_connections: count(0, 1_000_000),
  tls_certificate: path.optional(),
  tls_key: path.optional(),
  tls_client_authority: path.optional(),
  allow_plaintext: flag,
  allow_shared_numbers: flag,
  carriers: z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "is no carrier name"), sandbox),
});

/** Carriers as the file holds them, with the defaults filled in. */
const givenCarriers = z.record(z.string(), sandbox.in);

/**
 * The configuration from flags, then the environment, then the YAML file that `config` names, then defaults; or every complaint at
 * once, each naming where the value came from. Unknown names are complaints too. Values never show in complaints.
 */
export function readConfig(
  flags: Readonly<Record<string, string | boolean>>,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly config: Config; readonly settings: SettingInEffect[] } | { readonly complaints: readonly string[] } {
  const complaints: string[] = [];
  const names = new Set(SETTINGS.map(({ name }) => name));
  const values: Record<string, unknown> = {};
  const sources = new Map<string, string>();
  const take = (name: string, value: unknown, source: string) => {
    values[name] = value;
    sources.set(name, source);
  };

  for (const setting of SETTINGS) if (setting.default !== undefined) take(setting.name, setting.default, "the default");
  const file = flags.config ?? environment.NUMBERPOOL_CONFIG;
  for (const [name, value] of Object.entries(readFile(file, complaints))) {
    if (name === "carriers" || names.has(name)) take(name, value, String(file));
    else complaints.push(`${file}: ${name} is no setting.`);
  }
  for (const [variable, value] of Object.entries(environment)) {
    if (
      !variable.startsWith("NUMBERPOOL_") ||
      variable.startsWith("NUMBERPOOL_TEST_") ||
      variable === "NUMBERPOOL_CONFIG"
    )
      continue;
    const name = variable.slice("NUMBERPOOL_".length).toLowerCase();
    if (names.has(name)) take(name, value, variable);
    else complaints.push(`${variable} is no setting.`);
  }
  for (const [option, value] of Object.entries(flags)) {
    if (option === "config") continue;
    const isNegated = option.startsWith("no-");
    const name = (isNegated ? option.slice(3) : option).replaceAll("-", "_");
    if (names.has(name)) take(name, isNegated ? false : value, `--${option}`);
    else complaints.push(`--${option} is no option.`);
  }
  values.carriers ??= { sandbox: { type: "sandbox" } };

  const checked = schema.safeParse(values);
  for (const issue of checked.error?.issues ?? []) {
    const [name, ...inside] = issue.path.map(String);
    const source = sources.get(name ?? "") ?? "the configuration";
    complaints.push(
      `${source}: ${[name, ...inside].join(".")} ${issue.message.replace(/^[A-Z]/, (a) => a.toLowerCase())}.`,
    );
  }
  if (checked.success) complaints.push(...togetherComplaints(checked.data));
  if (complaints.length > 0 || !checked.success) return { complaints };
  const c = checked.data;
  const config: Config = {
    httpAddress: c.http_address,
    grpcAddress: c.grpc_address,
    metricsAddress: c.metrics_address,
    database: c.database,
    apiKey: c.api_key,
    logLevel: c.log_level,
    sample: c.sample,
    stickyLifetimeSeconds: c.sticky_lifetime_seconds,
    submitTimeoutSeconds: c.submit_timeout_seconds,
    receiptWindowSeconds: c.receipt_window_seconds,
    messageRetentionSeconds: c.message_retention_seconds,
    callsPerSecond: c.calls_per_second,
    maxConnections: c.max_connections,
    tlsCertificate: c.tls_certificate,
    tlsKey: c.tls_key,
    tlsClientAuthority: c.tls_client_authority,
    allowPlaintext: c.allow_plaintext,
    allowSharedNumbers: c.allow_shared_numbers,
    carriers: new Map(Object.entries(c.carriers)),
  };
  const inEffect = (name: string): SettingInEffect => {
    const value = name === "carriers" ? givenCarriers.parse(values.carriers) : c[name as keyof typeof c];
    // An address was taken apart.
    const told = name.endsWith("_address") ? values[name] : (value ?? null);
    return { name, value: masked(name, told), source: sources.get(name) ?? "the default" };
  };
  return { config: Object.freeze(config), settings: [...names, "carriers"].map(inEffect) };
}

/** A value without what is secret in it: by the name it has or the names inside it, and the password of a URL. */
function masked(name: string, value: unknown): unknown {
  if (value === null) return null;
  const setting = SETTINGS.find((known) => known.name === name);
  if (setting === undefined ? SECRET.test(name) : setting.isSecret) return MASK;
  if (typeof value === "string") return value.replace(/^(\w+:\/\/[^:/@]*:)[^/]+@/, `$1${MASK}@`);
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([inner, each]) => [inner, masked(inner, each)]));
}

/** What the names of secrets end in, inside a carrier. */
const SECRET = /(^|_)(key|password|secret|token)$/;
const MASK = "********";

/** True for addresses that only this machine can reach. */
export function isLoopback({ host }: Address): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** What is wrong with settings that are right one by one. */
function togetherComplaints(settings: z.infer<typeof schema>): string[] {
  const complaints: string[] = [];
  const { tls_certificate, tls_key, tls_client_authority, allow_plaintext } = settings;
  if ((tls_certificate === undefined) !== (tls_key === undefined)) {
    complaints.push("tls_certificate and tls_key belong together; give both or none.");
  }
  if (tls_client_authority !== undefined && tls_certificate === undefined) {
    complaints.push("tls_client_authority needs tls_certificate and tls_key.");
  }
  for (const name of ["http_address", "grpc_address"] as const) {
    if (tls_certificate !== undefined || allow_plaintext || isLoopback(settings[name])) continue;
    complaints.push(
      `${name} can be reached from other machines: give tls_certificate and tls_key, or set allow_plaintext if a proxy in front speaks TLS.`,
    );
  }
  return complaints;
}

function readFile(path: string | boolean | undefined, complaints: string[]): Record<string, unknown> {
  if (path === undefined) return {};
  if (typeof path !== "string" || path === "") {
    complaints.push("--config needs the path of a YAML file.");
    return {};
  }
  try {
    const content = parseYaml(readFileSync(path, "utf8")) ?? {};
    if (typeof content === "object" && !Array.isArray(content)) return content;
    complaints.push(`${path}: must hold a mapping of settings.`);
  } catch (error) {
    const why =
      error instanceof YAMLParseError ? "is not YAML" : `cannot be read (${(error as NodeJS.ErrnoException).code})`;
    complaints.push(`${path}: ${why}.`);
  }
  return {};
}

type GivenBehaviour = {
  latency_milliseconds?: number | undefined;
  receipt_after_milliseconds?: number | undefined;
  success_ratio?: number | undefined;
  failure_code?: string | undefined;
};

function sandboxBehaviour(given: GivenBehaviour): SandboxBehaviour;
function sandboxBehaviour(given: GivenBehaviour): SandboxOptions["numbers"][string] {
  return {
    ...(given.latency_milliseconds !== undefined && { latency: given.latency_milliseconds }),
    ...(given.receipt_after_milliseconds !== undefined && { receiptAfter: given.receipt_after_milliseconds }),
    ...(given.success_ratio !== undefined && { successRatio: given.success_ratio }),
    ...(given.failure_code !== undefined && { failureCode: given.failure_code }),
  };
}
