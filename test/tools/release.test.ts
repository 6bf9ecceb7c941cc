import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
/** The program itself, and what `npm run` puts on the path. */
const SCRIPT = join(ROOT, "tools/release.ts");
const env = { ...process.env, PATH: `${join(ROOT, "node_modules/.bin")}:${process.env.PATH}` };

const CHANGELOG = `# Changelog

## [Unreleased]

### Added

- One thing.
- Another thing.

## [0.0.9] - 2026-01-01

- The first thing.
`;

const PROTO = "proto/numberpool/v1/scope.proto";
const SCOPES = `syntax = "proto3";

package numberpool.v1;

enum Scope {
  SCOPE_UNSPECIFIED = 0;
  SCOPE_SEND = 1;
}
`;
const manifestOf = (version: string, more: object) => JSON.stringify({ name: "numberpool", version, ...more }, null, 2);

let folder: string;
const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
const read = (name: string) => readFileSync(join(folder, name), "utf8");
const run = (command: string, ...args: readonly string[]) =>
  spawnSync(command, args, { cwd: folder, env, encoding: "utf8" });
const release = (...args: readonly string[]) => run(process.execPath, SCRIPT, ...args);

/** The bytes of every file but those of git and of packages. */
const contents = () =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => !/^\.git(\/|$)/.test(name) && statSync(join(folder, name)).isFile())
    .sort()
    .map((name) => [name, readFileSync(join(folder, name), "base64")]);

/** A repository, made once and copied for each test. */
const template = mkdtempSync(join(tmpdir(), "numberpool-release-test-"));
beforeAll(() => {
  folder = template;
  write("package.json", manifestOf("0.1.0", {}));
  const used = { "node_modules/used": { version: "0.1.0" } };
  write("package-lock.json", manifestOf("0.1.0", { packages: { "": { version: "0.1.0" }, ...used } }));
  mkdirSync(join(folder, "proto/numberpool/v1"), { recursive: true });
  write(PROTO, SCOPES);
  write("CHANGELOG.md", CHANGELOG);
  write("buf.yaml", "version: v2\nmodules: [{ path: proto, breaking: { use: [WIRE_JSON] } }]\n");
  write("buf.gen.yaml", "version: v2\nplugins: [{ local: protoc-gen-es, out: gen }]\ninputs: [{ directory: . }]\n");
  // Compares with itself.
  expect(run("buf", "build", "proto", "--output", "proto/released.binpb").status).toBe(0);
  run("git", "init", "--quiet");
  run("git", "add", "--all");
  const author = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
  expect(run("git", ...author, "commit", "--quiet", "--message", "Start").status).toBe(0);
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "numberpool-release-test-"));
  cpSync(template, folder, { recursive: true });
});

afterEach(() => rmSync(folder, { recursive: true }));
afterAll(() => rmSync(template, { recursive: true }));

describe("A dry run of a release", () => {
  it("shows every change and makes none", () => {
    const before = contents();
    const { status, stdout, stderr } = release("0.2.0");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^Release 0\.2\.0, a dry run/);
    expect(stdout).toMatch(/package\.json +version 0\.1\.0 → 0\.2\.0\n/);
    expect(stdout).toMatch(/package-lock\.json +version 0\.1\.0 → 0\.2\.0\n/);
    expect(stdout).toMatch(/CHANGELOG\.md +2 entries move to 0\.2\.0, \d{4}-\d\d-\d\d\n/);
    expect(stdout).toMatch(/proto\/released\.binpb +[\d,]+ → [\d,]+ bytes\n/);
    expect(contents()).toEqual(before);
  });

  it("may release the version of package.json, if the changelog has not", () => {
    expect(release("0.1.0").status).toBe(0);
    write("CHANGELOG.md", `${CHANGELOG.replace("[0.0.9]", "[0.1.0]")}`);
    expect(release("0.1.0").stderr).toBe("0.1.0 is not higher than 0.1.0, the last release in CHANGELOG.md.\n");
  });

  it.each(["", "v1.0.0", "1.0", "next"])("asks for a version instead of %j", (version) => {
    const { status, stderr } = release(version);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^Name a version such as 1\.2\.3, not "/)]);
  });

  it("reports every error at once", () => {
    write("package-lock.json", read("package-lock.json").replace('"version": "0.1.0"', '"version": "0.1.1"'));
    write("CHANGELOG.md", CHANGELOG.replaceAll(/^- (One|Another) thing\.$/gm, ""));
    const { status, stdout, stderr } = release("0.0.8");
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr.trim().split("\n")).toEqual([
      "0.0.8 is lower than 0.1.0, the version of package.json.",
      "package-lock.json has another version than package.json.",
      "0.0.8 is not higher than 0.0.9, the last release in CHANGELOG.md.",
      "The section Unreleased of CHANGELOG.md has no entry.",
    ]);
  });

  it("refuses a breaking change from 1.0 on, but in a new major version", () => {
    write(PROTO, SCOPES.replace("SCOPE_SEND = 1", "SCOPE_SEND = 9"));
    expect(release("0.2.0").stdout).toMatch(/released\.binpb .*; \d+ breaking changes since the last release\n/);
    expect(release("1.0.0").status).toBe(0);
    write("CHANGELOG.md", CHANGELOG.replace("[0.0.9]", "[1.0.0]"));
    expect(release("1.1.0")).toMatchObject({ status: 1, stderr: expect.stringContaining("2.0.0 must be next") });
    expect(release("2.0.0").status).toBe(0);
  });
});

describe("A release", () => {
  it("is written when it is asked for, and passes the same checks for the next one", () => {
    const { status, stdout, stderr } = release("0.2.0", "--write");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("git tag --annotate v0.2.0");
    expect(JSON.parse(read("package.json")).version).toBe("0.2.0");
    const lock = JSON.parse(read("package-lock.json"));
    expect(lock.packages).toEqual({ "": { version: "0.2.0" }, "node_modules/used": { version: "0.1.0" } });
    expect(lock.version).toBe("0.2.0");
    expect(read("CHANGELOG.md")).toMatch(/## \[Unreleased\]\n\n## \[0\.2\.0\] - \d{4}-\d\d-\d\d\n\n### Added\n\n- One/);
    expect(readdirSync(join(folder, "gen/numberpool/v1"))).toContain("scope_pb.js");
    expect(run("buf", "breaking", "proto", "--against", "proto/released.binpb").status).toBe(0);
    expect(release("0.3.0").stderr).toBe("The section Unreleased of CHANGELOG.md has no entry.\n");
  });

  it("is not written over uncommitted changes", () => {
    write("CHANGELOG.md", `${CHANGELOG}\n- More.\n`);
    expect(release("0.2.0", "--write")).toMatchObject({
      status: 1,
      stderr: "The working tree has uncommitted changes.\n",
    });
  });
});
