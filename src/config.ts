import { readFileSync } from "node:fs";
import { parse as parseYaml, YAMLParseError } from "yaml";
import { z } from "zod";
import { SANDBOX, type SandboxBehaviour, type SandboxOptions } from "./carriers/sandbox.ts";
import { apiKeyId } from "./domain/api-key.ts";
import { isDeliveryCode } from "./domain/delivery-error.ts";
import { MESSAGE_RETENTION_MS, RECEIPT_WINDOW_MS, STICKY_LIFETIME_MS } from "./domain/limits.ts";

/** An address to listen on. Port 0 means any free port. */
export type Address = { readonly host: string; readonly port: number };

/** The configuration, checked. */
export type Config = {
  readonly httpAddress: Address;
  readonly grpcAddress: Address;
  readonly metricsAddress: Address;
  /** A file path, or a `postgres://` URL. */
  readonly database: string;
  /** The token of a key to install at start. */
  readonly apiKey: string | undefined;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly sample: boolean;
  readonly stickyLifetimeSeconds: number;
  readonly submitTimeoutSeconds: number;
  readonly receiptWindowSeconds: number;
  /** How long ended messages are kept; 0: without limit. */
  readonly messageRetentionSeconds: number;
  /** Calls a second of each API key; 0 for no limit. */
  readonly callsPerSecond: number;
  /**
   * The most connections of the HTTP and of the gRPC port; 0: derived from the limit on open files.
   */
  readonly maxConnections: number;
  /** Files in PEM; undefined: plaintext. */
  readonly tlsCertificate: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsClientAuthority: string | undefined;
  /** Whether non-loopback addresses may serve plaintext. */
  readonly allowPlaintext: boolean;
  /** Whether several organizations may register one phone number. */
  readonly allowSharedNumbers: boolean;
  readonly carriers: ReadonlyMap<string, CarrierConfig>;
};

/** A configured carrier. */
export type CarrierConfig = { readonly type: "sandbox" } & SandboxOptions;

/** A setting in effect, as people read it. */
export type SettingInEffect = {
  readonly name: string;
  /** As in the YAML file, with defaults, and with secrets masked; null: unset. */
  readonly value: unknown;
  /** A flag, a variable, the path of the file, or "default". */
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
/** A number, as flags and the environment spell it too. An empty string is not a number. */
const number = z.union([z.number(), z.string().trim().min(1).transform(Number).pipe(z.number())], "must be a number");
const between = (min: number, max: number) => z.number().min(min).max(max);
const count = (min: number, max: number) => number.pipe(between(min, max).int());

const behaviour = {
  latency_milliseconds: count(0, 600_000),
  receipt_after_milliseconds: count(0, 86_400_000),
  success_ratio: number.pipe(between(0, 1)),
  failure_code: z
    .union([z.string(), z.number().transform(String)])
    .refine(isDeliveryCode, "must be a documented failure code"),
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
    (settings): CarrierConfig => ({
      type: settings.type,
      ...sandboxBehaviour(settings),
      segmentsPerSecond: settings.segments_per_second,
      ledger: settings.ledger,
      numbers: Object.fromEntries(
        Object.entries(settings.numbers).map(([number, own]) => [number, sandboxBehaviour(own)]),
      ),
    }),
  );

/**
 * One setting. `name` is its name in the file; its variable is NUMBERPOOL_NAME, its flag --name
 * with hyphens.
 */
export type Setting = {
  readonly name: string;
  readonly description: string;
  /** As a string; undefined: none. */
  readonly default: string | undefined;
  /** Masked wherever settings are shown. */
  readonly isSecret?: boolean;
};

/** Every setting except the carriers, which only the file can hold. */
export const SETTINGS: readonly Setting[] = [
  { name: "http_address", default: "127.0.0.1:8080", description: "Where the JSON transport listens." },
  { name: "grpc_address", default: "127.0.0.1:50051", description: "Where the gRPC transport listens." },
  { name: "metrics_address", default: "127.0.0.1:9464", description: "Where `/metrics` listens, for Prometheus." },
  {
    name: "database",
    default: "numberpool.db",
    description: "A SQLite file, created if it does not exist, or a `postgres://` URL.",
  },
  {
    name: "api_key",
    default: undefined,
    isSecret: true,
    description: "A key of at least 24 characters to install, with all scopes in the default organization.",
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
    description: "How long a submit waits for the carrier's answer before its outcome counts as unknown.",
  },
  {
    name: "receipt_window_seconds",
    default: String(RECEIPT_WINDOW_MS / 1000),
    description: "How long a sent message waits for its receipt before it becomes `delivery_unconfirmed`.",
  },
  {
    name: "message_retention_seconds",
    default: String(MESSAGE_RETENTION_MS / 1000),
    description: "How long ended messages are kept, counted from their acceptance; 0: without limit.",
  },
  {
    name: "calls_per_second",
    default: "0",
    description: "The rate limit of each API key in calls a second, with bursts of one second; 0: no limit.",
  },
  {
    name: "max_connections",
    default: "0",
    description:
      "The most connections of the HTTP and of the gRPC port; 0: for each 40 % of the files that the process may open.",
  },
  { name: "tls_certificate", default: undefined, description: "The certificate chain of both transports, a PEM file." },
  { name: "tls_key", default: undefined, description: "The private key of `tls_certificate`, a PEM file." },
  {
    name: "tls_client_authority",
    default: undefined,
    description: "The authority that must have issued clients' certificates, a PEM file; without it clients need none.",
  },
  {
    name: "allow_plaintext",
    default: "false",
    description: "Whether non-loopback addresses serve without TLS, as behind a proxy.",
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
    .min(24, "must have at least 24 characters")
    .regex(/^[\x21-\x7e]+$/, "must contain only visible ASCII characters")
    .refine((token) => apiKeyId(token) !== "", "has the form of a Numberpool key, but a wrong checksum")
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
  carriers: z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "is not a carrier name"), sandbox),
});

/** Carriers as in the file, with defaults. */
const carriersInEffect = z.record(z.string(), sandbox.in);

/**
 * Reads the configuration: flags come first, then the environment, then the YAML file that `config`
 * names, then defaults. Reports every error at once, unknown names included, each with its source.
 * Errors never contain values.
 */
export function readConfig(
  flags: Readonly<Record<string, string | boolean>>,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly config: Config; readonly settings: SettingInEffect[] } | { readonly errors: readonly string[] } {
  const errors: string[] = [];
  const names = new Set(SETTINGS.map(({ name }) => name));
  const values: Record<string, unknown> = {};
  const sources = new Map<string, string>();
  const take = (name: string, value: unknown, source: string) => {
    values[name] = value;
    sources.set(name, source);
  };

  for (const setting of SETTINGS) if (setting.default !== undefined) take(setting.name, setting.default, "default");
  const file = flags.config ?? environment.NUMBERPOOL_CONFIG;
  for (const [name, value] of Object.entries(readFile(file, errors))) {
    if (name === "carriers" || names.has(name)) take(name, value, String(file));
    else errors.push(`${file}: unknown setting \`${name}\`.`);
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
    else errors.push(`unknown setting \`${variable}\`.`);
  }
  for (const [option, value] of Object.entries(flags)) {
    if (option === "config") continue;
    const isNegated = option.startsWith("no-");
    const name = (isNegated ? option.slice(3) : option).replaceAll("-", "_");
    if (names.has(name)) take(name, isNegated ? false : value, `--${option}`);
    else errors.push(`unknown option \`--${option}\`.`);
  }
  values.carriers ??= { sandbox: { type: "sandbox" } };

  const checked = schema.safeParse(values);
  for (const issue of checked.error?.issues ?? []) {
    const [name, ...inside] = issue.path.map(String);
    const source = sources.get(name ?? "") ?? "the configuration";
    errors.push(
      `${source}: ${[name, ...inside].join(".")} ${issue.message.replace(/^[A-Z]/, (a) => a.toLowerCase())}.`,
    );
  }
  if (checked.success) errors.push(...combinationErrors(checked.data));
  if (errors.length > 0 || !checked.success) return { errors };
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
    const value = name === "carriers" ? carriersInEffect.parse(values.carriers) : c[name as keyof typeof c];
    // An address is parsed into host and port.
    const shown = name.endsWith("_address") ? values[name] : (value ?? null);
    return { name, value: masked(name, shown), source: sources.get(name) ?? "default" };
  };
  return { config: Object.freeze(config), settings: [...names, "carriers"].map(inEffect) };
}

/**
 * Masks the secrets in a value: by its name, by the names inside it, and in the password of a URL.
 */
function masked(name: string, value: unknown): unknown {
  if (value === null) return null;
  const setting = SETTINGS.find((known) => known.name === name);
  if (setting === undefined ? SECRET.test(name) : setting.isSecret) return MASK;
  if (typeof value === "string") return value.replace(/^(\w+:\/\/[^:/@]*:)[^/]+@/, `$1${MASK}@`);
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([inner, each]) => [inner, masked(inner, each)]));
}

/** The endings of secrets' names, inside a carrier. */
const SECRET = /(^|_)(key|password|secret|token)$/;
const MASK = "********";

/** Whether only this machine can reach the address. */
export function isLoopback({ host }: Address): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The errors of settings that are valid one by one, but not together. */
function combinationErrors(settings: z.infer<typeof schema>): string[] {
  const errors: string[] = [];
  const { tls_certificate, tls_key, tls_client_authority, allow_plaintext } = settings;
  if ((tls_certificate === undefined) !== (tls_key === undefined)) {
    errors.push("tls_certificate and tls_key belong together; set both or neither.");
  }
  if (tls_client_authority !== undefined && tls_certificate === undefined) {
    errors.push("tls_client_authority needs tls_certificate and tls_key.");
  }
  for (const name of ["http_address", "grpc_address"] as const) {
    if (tls_certificate !== undefined || allow_plaintext || isLoopback(settings[name])) continue;
    errors.push(
      `${name} can be reached from other machines: set tls_certificate and tls_key, or allow_plaintext behind a proxy that terminates TLS.`,
    );
  }
  return errors;
}

function readFile(path: string | boolean | undefined, errors: string[]): Record<string, unknown> {
  if (path === undefined) return {};
  if (typeof path !== "string" || path === "") {
    errors.push("--config needs the path of a YAML file.");
    return {};
  }
  try {
    const content = parseYaml(readFileSync(path, "utf8")) ?? {};
    if (typeof content === "object" && !Array.isArray(content)) return content;
    errors.push(`${path}: must contain a mapping of settings.`);
  } catch (error) {
    const why =
      error instanceof YAMLParseError ? "is not YAML" : `cannot be read (${(error as NodeJS.ErrnoException).code})`;
    errors.push(`${path}: ${why}.`);
  }
  return {};
}

type BehaviourSettings = {
  latency_milliseconds?: number | undefined;
  receipt_after_milliseconds?: number | undefined;
  success_ratio?: number | undefined;
  failure_code?: string | undefined;
};

function sandboxBehaviour(settings: BehaviourSettings): SandboxBehaviour;
function sandboxBehaviour(settings: BehaviourSettings): SandboxOptions["numbers"][string] {
  return {
    ...(settings.latency_milliseconds !== undefined && { latency: settings.latency_milliseconds }),
    ...(settings.receipt_after_milliseconds !== undefined && { receiptAfter: settings.receipt_after_milliseconds }),
    ...(settings.success_ratio !== undefined && { successRatio: settings.success_ratio }),
    ...(settings.failure_code !== undefined && { failureCode: settings.failure_code }),
  };
}
