import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { readConfig } from "../../../src/config/read.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import { run } from "../../operation/program.ts";
import { temporaryFolder } from "../../server.ts";

const folder = temporaryFolder();
const config = join(folder.path, "config.yaml");

afterAll(() => folder.remove());

async function check(args: readonly string[], env: Record<string, string> = {}) {
  const started = run(["check", ...args], env, { cwd: folder.path });
  const { code } = await started.exited;
  return { code, stdout: started.stdout(), stderr: started.stderr() };
}

const FILE = `
log_level: warn
http_address: "[::1]:80"
submit_timeout_seconds: 5
carriers:
  quick:
    type: sandbox
    latency_milliseconds: 0
    numbers:
      "+12125550110": { success_ratio: 0.2 }
`;

describe("`check`", () => {
  it("prints every setting in effect with its source, and no secret", async () => {
    writeFileSync(config, FILE);
    const secret = "s3cr3t-s3cr3t-s3cr3t-s3cr3t";
    const env = { NUMBERPOOL_API_KEY: secret, NUMBERPOOL_LOG_LEVEL: "error", NUMBERPOOL_SAMPLE: "false" };
    const args = ["--config", config, "--database", "true # no", "--log-level=debug"];
    const [text, json] = await Promise.all([check(args, env), check([...args, "--json"], env)]);
    expect([text.code, text.stderr, json.code, json.stderr]).toEqual([0, "", 0, ""]);
    expect(text.stdout + json.stdout).not.toContain("s3cr3t");

    const settings = JSON.parse(json.stdout) as Record<string, { value: unknown; source: string }>;
    expect(Object.keys(settings)).toEqual([...SETTINGS.map(({ name }) => name), "carriers"]);
    expect(settings).toMatchObject({
      http_address: { value: "[::1]:80", source: config },
      grpc_address: { value: "127.0.0.1:50051", source: "default" },
      database: { value: "true # no", source: "--database" },
      api_key: { value: "********", source: "NUMBERPOOL_API_KEY" },
      log_level: { value: "debug", source: "--log-level" },
      sample: { value: false, source: "NUMBERPOOL_SAMPLE" },
      sticky_lifetime_seconds: { value: 691_200, source: "default" },
      submit_timeout_seconds: { value: 5, source: config },
      carriers: {
        source: config,
        value: {
          quick: {
            type: "sandbox",
            latency_milliseconds: 0,
            receipt_after_milliseconds: 200,
            success_ratio: 1,
            numbers: { "+12125550110": { success_ratio: 0.2 } },
          },
        },
      },
    });
    for (const [name, { source }] of Object.entries(settings)) {
      expect(text.stdout).toMatch(new RegExp(`^${name}:.*  # ${source}$`, "m"));
    }
  });

  it("prints a YAML file that means the same when it is read", async () => {
    writeFileSync(config, FILE);
    const { stdout } = await check(["--config", config, "--database", "no: 'quotes' \"here\"", "--no-sample"]);
    const printed = join(folder.path, "printed.yaml");
    writeFileSync(
      printed,
      stdout
        .split("\n")
        .filter((line) => !/^\w+: null {2}#/.test(line))
        .join("\n"),
    );
    const environment = { NUMBERPOOL_SAMPLE: "false", NUMBERPOOL_DATABASE: "no: 'quotes' \"here\"" };
    const [first, second] = [readConfig({ config }, environment), readConfig({ config: printed }, {})];
    if ("errors" in first || "errors" in second) throw new Error("the configuration was refused");
    expect(second.config).toEqual(first.config);
    expect(parse(stdout).api_key).toBe(null);
  });

  it("reports every error, ends with 1 and opens nothing", async () => {
    writeFileSync(config, "log_level: loud\nnonsense: 1\n");
    const { code, stdout, stderr } = await check(["--config", config, "--json"], {
      NUMBERPOOL_HTTP_ADDRESS: "nowhere",
    });
    expect([code, stdout]).toEqual([1, ""]);
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    for (const place of [
      `${config}: log_level`,
      `${config}: unknown setting`,
      "NUMBERPOOL_HTTP_ADDRESS: http_address",
    ]) {
      expect(lines.filter((line) => line.startsWith(`numberpool: ${place} `))).toHaveLength(1);
    }
    expect(readdirSync(folder.path).filter((file) => !file.endsWith(".yaml"))).toEqual([]);
  });

  it.each([
    ["postgres://me:s3cr3t@127.0.0.1:5432/db", "postgres://me:********@127.0.0.1:5432/db"],
    ["postgres://me:s3@cr3t@127.0.0.1/db", "postgres://me:********@127.0.0.1/db"],
    ["postgres://me@127.0.0.1/db", "postgres://me@127.0.0.1/db"],
  ])("masks the password of a URL", (database, shown) => {
    const read = readConfig({ database }, {});
    if ("errors" in read) return;
    expect(read.settings.find(({ name }) => name === "database")?.value).toBe(shown);
  });
});
