import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { readConfig } from "../../src/config/read.ts";
import { SETTINGS } from "../../src/config/settings.ts";
import { temporaryFolder } from "../server.ts";
import { FREE_PORTS, run } from "./program.ts";

let folder: ReturnType<typeof temporaryFolder>;

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(() => folder.remove());

function fileOf(yaml: string): string {
  const path = join(folder.path, "numberpool.yaml");
  writeFileSync(path, yaml);
  return path;
}

function configOf(flags: Record<string, string | boolean>, environment: Record<string, string> = {}): Config {
  const read = readConfig(flags, environment);
  if ("errors" in read) throw new Error(read.errors.join("\n"));
  return read.config;
}

function errorsOf(flags: Record<string, string | boolean>, environment: Record<string, string> = {}): string[] {
  const read = readConfig(flags, environment);
  return "errors" in read ? [...read.errors] : [];
}

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

describe("Errors", () => {
  it("are reported all at once, each with its source", () => {
    const config = fileOf("sticky_lifetime_seconds: soon\nnonsense: 1\ncarriers: {a: {type: other}}\n");
    const environment = { NUMBERPOOL_HTTP_ADDRESS: "nowhere", NUMBERPOOL_COLOUR: "blue", NUMBERPOOL_API_KEY: "short" };
    const errors = errorsOf({ config, "log-level": "loud", shape: "round" }, environment);
    const places = errors.map((error) => (/^unknown \w+ `(.+)`/.exec(error) ?? /^(\S+):/.exec(error))?.[1]).sort();
    const expected = [config, config, config, "NUMBERPOOL_HTTP_ADDRESS", "NUMBERPOOL_COLOUR", "NUMBERPOOL_API_KEY"];
    expect(places).toEqual([...expected, "--log-level", "--shape"].sort());
    for (const error of errors) expect(error).toMatch(/^[^\n]+\.$/);
  });

  it.each([
    ["flags", { "http-adress": "127.0.0.1:1" }, {}, "unknown option `--http-adress`."],
    ["environment", {}, { NUMBERPOOL_HTTP_ADRESS: "127.0.0.1:1" }, "unknown setting `NUMBERPOOL_HTTP_ADRESS`."],
    ["flags, where it belongs to an object", { constructor: "x" }, {}, "unknown option `--constructor`."],
  ] as const)("name what is unknown in the %s", (_where, flags, environment, error) => {
    expect(errorsOf({ ...flags }, { ...environment })).toEqual([error]);
  });

  it("name what is unknown in the file", () => {
    const config = fileOf("http_adress: 127.0.0.1:1\nconfig: other.yaml\n");
    expect(errorsOf({ config })).toEqual([
      `${config}: unknown setting \`http_adress\`.`,
      `${config}: unknown setting \`config\`.`,
    ]);
  });

  it("never contain a secret", () => {
    const secret = "s3cr3t with a space, which no key has";
    const config = fileOf(`api_key: {${JSON.stringify(secret)}: 1}\n`);
    const errors = [
      ...errorsOf({}, { NUMBERPOOL_API_KEY: secret }),
      ...errorsOf({ "api-key": "s3cr3t" }),
      ...errorsOf({ config }),
      ...errorsOf({ config: fileOf(`api_key: "${secret}\n`) }),
    ];
    expect(errors).toHaveLength(4);
    expect(errors.filter((error) => error.includes("s3cr3t"))).toEqual([]);
  });

  it.each([
    "",
    "8080",
    ":8080",
    "localhost",
    "localhost:",
    "localhost:http",
    "localhost:-1",
    "localhost:1.5",
    "localhost:65536",
    "localhost:999999",
    "::1:8080",
    "[::1]",
    "[localhost]:8080",
    "http://localhost:8080",
    "localhost:8080/path",
    "local host:8080",
    " localhost:8080",
    "localhost:8080\n",
  ])("refuse the address %j", (address) => {
    for (const name of ["http", "grpc", "metrics"]) {
      const errors = errorsOf({ [`${name}-address`]: address });
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatch(new RegExp(`^--${name}-address: ${name}_address `));
    }
  });

  it.each(["", " ", "0", "-1", "1.5", "3601", "1e99", "Infinity", "NaN", "ten", "5s"])(
    "refuse the number of seconds %j",
    (seconds) => {
      expect(errorsOf({ "submit-timeout-seconds": seconds })).not.toEqual([]);
    },
  );

  it.each(["true", "null", "[5]", "{}", '""', ".inf", ".nan", "2026-01-01"])(
    "refuse the number of seconds that the file writes as %s",
    (seconds) => {
      expect(errorsOf({ config: fileOf(`submit_timeout_seconds: ${seconds}\n`) })).not.toEqual([]);
    },
  );

  it.each([
    ["no YAML", "a: [", "is not YAML."],
    ["a setting twice", "database: a\ndatabase: b\n", "is not YAML."],
    ["a list", "- a\n", "must contain a mapping of settings."],
    ["a word", "hello\n", "must contain a mapping of settings."],
  ])("refuse a file with %s", (_what, yaml, error) => {
    const config = fileOf(yaml);
    expect(errorsOf({ config })).toEqual([`${config}: ${error}`]);
  });

  it("refuse a file that cannot be read, and none at all", () => {
    const missing = join(folder.path, "missing.yaml");
    expect(errorsOf({ config: missing })).toEqual([`${missing}: cannot be read (ENOENT).`]);
    expect(errorsOf({ config: folder.path })).toEqual([`${folder.path}: cannot be read (EISDIR).`]);
    expect(errorsOf({ config: "" })).toHaveLength(1);
    expect(errorsOf({}, { NUMBERPOOL_CONFIG: "" })).toHaveLength(1);
  });

  it("refuse a level, a switch and a database that are none", () => {
    expect(errorsOf({}, { NUMBERPOOL_LOG_LEVEL: "INFO" })).toHaveLength(1);
    expect(errorsOf({}, { NUMBERPOOL_SAMPLE: "no" })).toHaveLength(1);
    expect(errorsOf({}, { NUMBERPOOL_DATABASE: "" })).toHaveLength(1);
  });
});

describe("The program", () => {
  /** Runs `serve` in the folder; a database file or a lock would show there. */
  async function serve(args: readonly string[], env: Record<string, string> = {}) {
    const started = run(["serve", "--no-sample", ...args], { ...FREE_PORTS, ...env }, { cwd: folder.path });
    const outcome = await Promise.race([started.exited, started.ready.then(() => "ready" as const)]);
    if (outcome === "ready") {
      started.process.kill("SIGTERM");
      await started.exited;
    }
    const lines = started.stderr().split("\n").slice(0, -1);
    return { outcome, lines, stdout: started.stdout(), files: readdirSync(folder.path).sort() };
  }

  it("ends with 1 and one line for each error, before it listens or creates a file", async () => {
    const config = fileOf("nonsense: 1\n");
    const { outcome, lines, stdout, files } = await serve(["--config", config, "--log-level", "loud"], {
      NUMBERPOOL_GRPC_ADDRESS: "nowhere",
      NUMBERPOOL_COLOUR: "blue",
    });
    expect(outcome).toMatchObject({ code: 1, signal: null });
    expect(stdout).toBe("");
    expect(files).toEqual(["numberpool.yaml"]);
    expect(lines).toHaveLength(4);
    for (const line of lines) expect(line).toMatch(/^numberpool: .+\.$/);
  });

  it("reports the errors of its flags together with all others", async () => {
    const { outcome, lines } = await serve(["--shape", "round", "--size=big"], { NUMBERPOOL_COLOUR: "blue" });
    expect(outcome).toMatchObject({ code: 1 });
    expect(lines).toHaveLength(3);
    for (const name of ["--shape", "--size", "NUMBERPOOL_COLOUR"]) {
      expect(lines.filter((line) => line.includes(name))).toHaveLength(1);
    }
  });

  it.each([
    ["the key on the command line", ["--api-key", "s3cr3t-s3cr3t-s3cr3t-s3cr3t"], {}],
    ["the key on the command line, with =", ["--api-key=s3cr3t-s3cr3t-s3cr3t-s3cr3t"], {}],
    [
      "a key of our shape with a wrong checksum",
      [],
      { NUMBERPOOL_API_KEY: `np_live_s3cr3ts3cr3t_${"a".repeat(43)}_000000` },
    ],
    ["the password of a database URL", [], { NUMBERPOOL_DATABASE: "postgres://me:s3cr3t@127.0.0.1:1/db" }],
  ])("refuses %s without showing it, and before it makes a file", async (_what, args, env) => {
    const { outcome, lines, stdout, files } = await serve(args, env);
    expect(outcome).toMatchObject({ code: 1 });
    expect(lines).not.toEqual([]);
    expect(lines.join("\n") + stdout).not.toContain("s3cr3t");
    expect(files).toEqual([]);
  });

  it("takes flags before the environment before the file before the defaults", async () => {
    const config = fileOf("database: file.db\nlog_level: error\nsubmit_timeout_seconds: 5\n");
    const ofFile = await serve(["--config", config]);
    const ofEnvironment = await serve([], { NUMBERPOOL_CONFIG: config, NUMBERPOOL_DATABASE: "env.db" });
    const ofFlag = await serve(["--config", config, "--database", "flag.db"], { NUMBERPOOL_DATABASE: "other.db" });
    const names = [ofFile, ofEnvironment, ofFlag].map(({ stdout }) => JSON.parse(stdout).database);
    expect(names).toEqual(["file.db", "env.db", "flag.db"]);
    for (const name of names) expect(existsSync(join(folder.path, name))).toBe(true);
    expect(existsSync(join(folder.path, "other.db"))).toBe(false);
    expect(existsSync(join(folder.path, "numberpool.db"))).toBe(false);
  });

  it("refuses an unknown command, and names every option in its help", async () => {
    const unknown = run(["server"], {});
    expect(await unknown.exited).toMatchObject({ code: 1 });
    expect(unknown.stderr()).toBe("numberpool: unknown command `server`; `numberpool help` lists the commands.\n");
    const help = run(["serve", "--help"], {});
    expect(await help.exited).toMatchObject({ code: 0 });
    const options = SETTINGS.filter(({ isSecret }) => !isSecret).map(({ name }) => `--${name.replaceAll("_", "-")}`);
    for (const option of [...options, "--config", "--no-sample"]) expect(help.stdout()).toContain(option);
    expect(help.stdout()).not.toContain("--api-key");
  });
});
