import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SETTINGS } from "../../../src/config/settings.ts";
import { writeConfig } from "../../config/configuration.ts";
import { FREE_PORTS, run } from "../../operation/program.ts";
import { temporaryFolder } from "../../server.ts";

let folder: ReturnType<typeof temporaryFolder>;

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(() => folder.remove());

const fileOf = (yaml: string) => writeConfig(folder.path, yaml);

describe("`serve`", () => {
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
