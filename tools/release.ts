/**
 * Prepares a release: `npm run release -- VERSION` checks the version, the changelog and the
 * contract, and shows what would change; with `--write` it changes the files. It commits nothing.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const CONTRACT = "proto/released.binpb";
/** The exit code of `buf breaking` for breaking changes. */
const BREAKS = 100;

type Files = { readonly manifest: string; readonly lock: string; readonly changelog: string };

function release(args: readonly string[]): void {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { write: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const [version = ""] = positionals;
  const files: Files = {
    manifest: readFileSync("package.json", "utf8"),
    lock: readFileSync("package-lock.json", "utf8"),
    changelog: readFileSync("CHANGELOG.md", "utf8"),
  };
  const errors = errorsOf(version, files);
  if (values.write && git("status", "--porcelain") !== "") errors.push("The working tree has uncommitted changes.");
  const breaks = errors.length > 0 ? [] : breakingChanges();
  errors.push(...breakingErrors(version, files.changelog, breaks));
  if (errors.length > 0) {
    for (const error of errors) console.error(error);
    process.exitCode = 1;
    return;
  }

  const date = new Date().toISOString().slice(0, 10);
  const before = versionOf(files.manifest);
  const image = buildContract();
  const sizes = `${statSync(CONTRACT).size.toLocaleString("en")} → ${image.length.toLocaleString("en")} bytes`;
  const breaking = breaks.length === 0 ? "" : `; ${breaks.length} breaking changes since the last release`;
  const changes = [
    ["package.json", `version ${before} → ${version}`],
    ["package-lock.json", `version ${before} → ${version}`],
    ["CHANGELOG.md", `${entriesOf(unreleased(files.changelog))} entries move to ${version}, ${date}`],
    ["gen/", "generated again with the version"],
    [CONTRACT, `${sizes}${breaking}`],
  ] as const;
  console.log(`Release ${version}${values.write ? "" : ", a dry run: --write changes the files"}`);
  for (const [name, change] of changes) console.log(`  ${name.padEnd(22)}${change}`);
  if (!values.write) return;

  writeFileSync("package.json", withVersion(files.manifest, before, version, 1));
  // The lock file names the version of the package twice: at its top and in its first entry.
  writeFileSync("package-lock.json", withVersion(files.lock, before, version, 2));
  writeFileSync("CHANGELOG.md", released(files.changelog, version, date));
  writeFileSync(CONTRACT, image);
  execFileSync("buf", ["generate"], { stdio: ["ignore", "inherit", "inherit"] });
  console.log(`\nRun \`npm run check\`, look at the changes, then:\n
  git add --all && git commit --message "Release ${version}"
  git tag --annotate v${version} --message "Numberpool ${version}"
  git push --follow-tags`);
}

/** Every error of the version and the files, as sentences. */
function errorsOf(version: string, { manifest, lock, changelog }: Files): string[] {
  if (partsOf(version) === undefined) {
    return [`Name a version such as 1.2.3, not ${JSON.stringify(version)}: npm run release -- VERSION [--write].`];
  }
  const errors: string[] = [];
  const current = versionOf(manifest);
  if (compare(version, current) < 0) errors.push(`${version} is lower than ${current}, the version of package.json.`);
  if (versionOf(lock) !== current) errors.push("package-lock.json has another version than package.json.");
  const last = versionsOf(changelog)[0];
  if (last !== undefined && compare(version, last) <= 0) {
    errors.push(`${version} is not higher than ${last}, the last release in CHANGELOG.md.`);
  }
  const section = unreleased(changelog);
  if (section === undefined) errors.push("CHANGELOG.md has no section `## [Unreleased]`.");
  else if (entriesOf(section) === 0) errors.push("The section Unreleased of CHANGELOG.md has no entry.");
  return errors;
}

/** From 1.0 on, only a new major version may break the contract. */
function breakingErrors(version: string, changelog: string, breaks: readonly string[]): string[] {
  const last = versionsOf(changelog)[0];
  const [major = 0] = partsOf(version) ?? [];
  if (breaks.length === 0 || major === 0 || major > (partsOf(last ?? "")?.[0] ?? 0)) return [];
  return [`The contract breaks the last release, so ${major + 1}.0.0 must be next:`, ...breaks];
}

/** The breaking changes since the last release, a line for each. */
function breakingChanges(): string[] {
  const { status, stdout, stderr } = spawnSync("buf", ["breaking", "proto", "--against", CONTRACT], {
    encoding: "utf8",
  });
  if (status !== 0 && status !== BREAKS) throw new Error(`buf breaking failed: ${stderr}`);
  return stdout.split("\n").filter((line) => line !== "");
}

/** The contract as `buf breaking` reads it, without comments. */
function buildContract(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "numberpool-release-"));
  try {
    const file = join(folder, "contract.binpb");
    execFileSync("buf", ["build", "proto", "--exclude-source-info", "--output", file]);
    return readFileSync(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The text of the section Unreleased; undefined: there is none. */
function unreleased(changelog: string): string | undefined {
  return changelog.split(/^(?=## )/m).find((section) => section.startsWith("## [Unreleased]\n"));
}

function entriesOf(section: string | undefined): number {
  return section?.match(/^- /gm)?.length ?? 0;
}

/** The changelog with its unreleased entries under the version, and an empty section before it. */
function released(changelog: string, version: string, date: string): string {
  return changelog.replace("## [Unreleased]\n", `## [Unreleased]\n\n## [${version}] - ${date}\n`);
}

/** The released versions, the last one first. */
function versionsOf(changelog: string): string[] {
  return [...changelog.matchAll(/^## \[(\d[^\]]*)\]/gm)].map(([, version = ""]) => version);
}

function versionOf(manifest: string): string {
  return (JSON.parse(manifest) as { version: string }).version;
}

/** Replaces the first so many occurrences of the version, and leaves everything else as it is. */
function withVersion(text: string, from: string, to: string, count: number): string {
  let left = count;
  return text.replaceAll(`"version": "${from}"`, (found) => (left-- > 0 ? `"version": "${to}"` : found));
}

/** Major, minor and patch, and what follows a hyphen; undefined: not a version. */
function partsOf(version: string): readonly [number, number, number, string] | undefined {
  const [, major, minor, patch, suffix = ""] = /^(\d+)\.(\d+)\.(\d+)(?:-([\w.-]+))?$/.exec(version) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor), Number(patch), suffix];
}

/** Negative when the first version is lower. A version with a suffix is lower than the one without. */
function compare(one: string, other: string): number {
  const a = partsOf(one) ?? [0, 0, 0, ""];
  const b = partsOf(other) ?? [0, 0, 0, ""];
  const numbers = a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
  if (numbers !== 0 || a[3] === b[3]) return numbers;
  if (a[3] === "" || b[3] === "") return a[3] === "" ? 1 : -1;
  return a[3].localeCompare(b[3], "en", { numeric: true });
}

function git(...args: readonly string[]): string {
  return execFileSync("git", args, { encoding: "utf8" }).trim();
}

release(process.argv.slice(2));
