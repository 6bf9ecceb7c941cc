import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { SETTINGS } from "../../src/config/settings.ts";
import { temporaryFolder } from "../server.ts";
import { configOf, errorsOf, writeConfig } from "./configuration.ts";

let folder: ReturnType<typeof temporaryFolder>;

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(() => folder.remove());

const fileOf = (yaml: string) => writeConfig(folder.path, yaml);

type Values = {
  readonly field: keyof Config;
  readonly default: unknown;
  readonly file: readonly [unknown, unknown];
  readonly env: readonly [unknown, unknown];
  readonly flag: readonly [unknown, unknown];
  /** Settings that it requires. */
  readonly beside?: Readonly<Record<string, string>>;
};

/** For each setting its field, its default, and a value from each source with its meaning. */
const VALUES: Readonly<Record<string, Values>> = {
  http_address: {
    field: "httpAddress",
    default: { host: "127.0.0.1", port: 8080 },
    file: ["127.0.0.2:1", { host: "127.0.0.2", port: 1 }],
    env: ["[::1]:65535", { host: "::1", port: 65_535 }],
    flag: ["localhost:0", { host: "localhost", port: 0 }],
  },
  grpc_address: {
    field: "grpcAddress",
    default: { host: "127.0.0.1", port: 50_051 },
    file: ["127.1.2.3:1", { host: "127.1.2.3", port: 1 }],
    env: ["[::1]:2", { host: "::1", port: 2 }],
    flag: ["localhost:3", { host: "localhost", port: 3 }],
  },
  metrics_address: {
    field: "metricsAddress",
    default: { host: "127.0.0.1", port: 9464 },
    file: ["a:1", { host: "a", port: 1 }],
    env: ["b:2", { host: "b", port: 2 }],
    flag: ["c:3", { host: "c", port: 3 }],
  },
  database: {
    field: "database",
    default: "numberpool.db",
    file: ["file.db", "file.db"],
    env: ["env.db", "env.db"],
    flag: ["flag.db", "flag.db"],
  },
  api_key: {
    field: "apiKey",
    default: undefined,
    file: ["a-key-of-the-file-that-is-long", "a-key-of-the-file-that-is-long"],
    env: ["a-key-of-the-environment-here", "a-key-of-the-environment-here"],
    flag: ["a-key-of-the-flags-that-is-long", "a-key-of-the-flags-that-is-long"],
  },
  log_level: {
    field: "logLevel",
    default: "info",
    file: ["error", "error"],
    env: ["debug", "debug"],
    flag: ["silent", "silent"],
  },
  sample: { field: "sample", default: true, file: [false, false], env: ["true", true], flag: [false, false] },
  sticky_lifetime_seconds: {
    field: "stickyLifetimeSeconds",
    default: 691_200,
    file: [1, 1],
    env: ["2", 2],
    flag: ["315360000", 315_360_000],
  },
  submit_timeout_seconds: {
    field: "submitTimeoutSeconds",
    default: 60,
    file: [1, 1],
    env: ["2", 2],
    flag: ["3600", 3_600],
  },
  receipt_window_seconds: {
    field: "receiptWindowSeconds",
    default: 259_200,
    file: [1, 1],
    env: ["2", 2],
    flag: ["2592000", 2_592_000],
  },
  message_retention_seconds: {
    field: "messageRetentionSeconds",
    default: 7_776_000,
    file: [0, 0],
    env: ["1", 1],
    flag: ["3153600000", 3_153_600_000],
  },
  allow_shared_numbers: {
    field: "allowSharedNumbers",
    default: false,
    file: [true, true],
    env: ["true", true],
    flag: [true, true],
  },
  calls_per_second: { field: "callsPerSecond", default: 0, file: [0.5, 0.5], env: ["2", 2], flag: ["1000000", 1e6] },
  max_connections: { field: "maxConnections", default: 0, file: [200, 200], env: ["0", 0], flag: ["1000000", 1e6] },
  tls_certificate: {
    field: "tlsCertificate",
    default: undefined,
    file: ["a.pem", "a.pem"],
    env: ["b.pem", "b.pem"],
    flag: ["c.pem", "c.pem"],
    beside: { NUMBERPOOL_TLS_KEY: "key.pem" },
  },
  tls_key: {
    field: "tlsKey",
    default: undefined,
    file: ["a.pem", "a.pem"],
    env: ["b.pem", "b.pem"],
    flag: ["c.pem", "c.pem"],
    beside: { NUMBERPOOL_TLS_CERTIFICATE: "certificate.pem" },
  },
  tls_client_authority: {
    field: "tlsClientAuthority",
    default: undefined,
    file: ["a.pem", "a.pem"],
    env: ["b.pem", "b.pem"],
    flag: ["c.pem", "c.pem"],
    beside: { NUMBERPOOL_TLS_CERTIFICATE: "certificate.pem", NUMBERPOOL_TLS_KEY: "key.pem" },
  },
  allow_plaintext: {
    field: "allowPlaintext",
    default: false,
    file: [true, true],
    env: ["false", false],
    flag: [true, true],
  },
};

describe("A setting", () => {
  it.each(SETTINGS.map(({ name }) => name))(
    "%s is its flag, else its variable, else the file's, else its default",
    (name) => {
      const known = VALUES[name];
      if (known === undefined) throw new Error(`the test has no values of ${name}`);
      const [inFile, ofFile] = known.file;
      const [inEnvironment, ofEnvironment] = known.env;
      const [inFlag, ofFlag] = known.flag;
      const config = fileOf(`${name}: ${JSON.stringify(inFile)}\n`);
      const environment = { ...known.beside, [`NUMBERPOOL_${name.toUpperCase()}`]: String(inEnvironment) };
      const flags = { [name.replaceAll("_", "-")]: inFlag as string | boolean };
      expect(configOf({ config, ...flags }, environment)[known.field]).toEqual(ofFlag);
      expect(configOf({ config }, environment)[known.field]).toEqual(ofEnvironment);
      expect(configOf({}, { ...known.beside, NUMBERPOOL_CONFIG: config })[known.field]).toEqual(ofFile);
      expect(configOf({})[known.field]).toEqual(known.default);
    },
  );

  it("leaves the others as they are", () => {
    const changed = configOf({ config: fileOf("log_level: error\n"), database: "b" }, { NUMBERPOOL_SAMPLE: "false" });
    expect(changed).toEqual({ ...configOf({}), logLevel: "error", database: "b", sample: false });
  });

  it("that is a switch can be turned off by --no-…", () => {
    expect(configOf({ "no-sample": true }, { NUMBERPOOL_SAMPLE: "true" }).sample).toBe(false);
    expect(configOf({ sample: true }, { NUMBERPOOL_SAMPLE: "false" }).sample).toBe(true);
  });

  it("of the tests is ignored, and so are other programs' variables", () => {
    expect(configOf({}, { NUMBERPOOL_TEST_ANYTHING: "x", PATH: "/bin", NUMBERPOOLING: "x" })).toEqual(configOf({}));
  });

  it("in the file that --config names comes before the file of NUMBERPOOL_CONFIG", () => {
    const config = fileOf("database: named.db\n");
    expect(configOf({ config }, { NUMBERPOOL_CONFIG: join(folder.path, "missing.yaml") }).database).toBe("named.db");
  });
});

describe("Carriers", () => {
  it("are one sandbox when none is configured", () => {
    for (const config of [
      configOf({}),
      configOf({ config: fileOf("") }),
      configOf({ config: fileOf("carriers:\n") }),
    ]) {
      expect([...config.carriers]).toEqual([
        [
          "sandbox",
          {
            type: "sandbox",
            latency_milliseconds: 20,
            receipt_after_milliseconds: 200,
            success_ratio: 1,
            failure_code: "40013",
            segments_per_second: 0,
            numbers: {},
          },
        ],
      ]);
    }
  });

  it("come from the file, with what one number has of its own", () => {
    const config = fileOf(`
carriers:
  quick: {type: sandbox, latency_milliseconds: 0}
  slow-one_2:
    type: sandbox
    latency_milliseconds: 600000
    receipt_after_milliseconds: 86400000
    success_ratio: 0.25
    segments_per_second: 2.5
    ledger: sandbox.jsonl
    numbers:
      "+12125550100": {success_ratio: 0, receipt_after_milliseconds: 7}
`);
    expect(Object.fromEntries(configOf({ config }).carriers)).toEqual({
      quick: {
        type: "sandbox",
        latency_milliseconds: 0,
        receipt_after_milliseconds: 200,
        success_ratio: 1,
        failure_code: "40013",
        segments_per_second: 0,
        numbers: {},
      },
      "slow-one_2": {
        type: "sandbox",
        latency_milliseconds: 600_000,
        receipt_after_milliseconds: 86_400_000,
        success_ratio: 0.25,
        failure_code: "40013",
        segments_per_second: 2.5,
        ledger: "sandbox.jsonl",
        numbers: { "+12125550100": { success_ratio: 0, receipt_after_milliseconds: 7 } },
      },
    });
  });

  it.each([
    ["another kind", "a: {type: smpp}", "carriers.a.type"],
    ["no kind", "a: {}", "carriers.a.type"],
    ["a name with capitals", "A: {type: sandbox}", "carriers.A"],
    ["an unknown option", "a: {type: sandbox, speed: 1}", "carriers.a"],
    ["a negative latency", "a: {type: sandbox, latency_milliseconds: -1}", "carriers.a.latency_milliseconds"],
    ["half a millisecond", "a: {type: sandbox, latency_milliseconds: 0.5}", "carriers.a.latency_milliseconds"],
    ["a ratio above one", "a: {type: sandbox, success_ratio: 1.01}", "carriers.a.success_ratio"],
    ["an empty ratio", "a: {type: sandbox, success_ratio: }", "carriers.a.success_ratio"],
    ["a latency that is yes", "a: {type: sandbox, latency_milliseconds: true}", "carriers.a.latency_milliseconds"],
    ["a number that is none", "a: {type: sandbox, numbers: {'212': {}}}", "carriers.a.numbers.212"],
    [
      "an unknown option of a number",
      "a: {type: sandbox, numbers: {'+12125550100': {type: sandbox}}}",
      "carriers.a.numbers.+12125550100",
    ],
  ])("with %s are refused", (_what, carriers, path) => {
    const config = fileOf(`carriers:\n  ${carriers}\n`);
    const errors = errorsOf({ config });
    expect(errors).toHaveLength(1);
    expect(errors[0]?.startsWith(`${config}: ${path} `)).toBe(true);
  });

  it("cannot come from the environment or the command line", () => {
    expect(errorsOf({ carriers: "x" }, { NUMBERPOOL_CARRIERS: "x" })).toEqual([
      "unknown setting `NUMBERPOOL_CARRIERS`.",
      "unknown option `--carriers`.",
    ]);
  });
});
