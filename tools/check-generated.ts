/**
 * Compares `gen/` with what buf generates from the protos now, without writing to it: `npm run
 * check-generated`. Exits with 1 and names the files that differ.
 */
import { execFileSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "numberpool-gen-"));
try {
  execFileSync("buf", ["generate", "--output", folder], { stdio: ["ignore", "inherit", "inherit"] });
  const committed = filesOf("gen");
  const generated = filesOf(join(folder, "gen"));
  const names = [...new Set([...committed.keys(), ...generated.keys()])].sort();
  const different = names.filter((name) => committed.get(name) !== generated.get(name));
  for (const name of different) console.error(`gen/${name} differs from what the protos generate.`);
  if (different.length > 0) {
    console.error("Run `npm run generate`, and commit gen/ with the protos.");
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** The content of every file in a folder, by its path inside the folder. */
function filesOf(root: string): ReadonlyMap<string, string> {
  const files = globSync("**/*", { cwd: root }).filter((name) => statSync(join(root, name)).isFile());
  return new Map(files.map((name) => [name, readFileSync(join(root, name), "utf8")]));
}
