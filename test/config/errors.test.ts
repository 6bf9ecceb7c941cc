import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { temporaryFolder } from "../server.ts";
import { errorsOf, writeConfig } from "./configuration.ts";

let folder: ReturnType<typeof temporaryFolder>;

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(() => folder.remove());

const fileOf = (yaml: string) => writeConfig(folder.path, yaml);

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
