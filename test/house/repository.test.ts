import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

describe("the repository", () => {
  it("has nothing at the top that has another place", () => {
    const known = [
      ...["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "biome.json", "buf.gen.yaml"],
      ...["buf.yaml", "package-lock.json", "package.json", "tsconfig.json"],
      ...["bench", "bin", "deploy", "docs", "gen", "proto", "src", "test", "tools"],
      ...["node_modules", "dist", "coverage"],
    ];
    const others = readdirSync(ROOT).filter((name) => !name.startsWith(".") && !/^numberpool\.db/.test(name));
    expect(others.filter((name) => !known.includes(name))).toEqual([]);
  });

  it("names no download address in the lock file", () => {
    expect(read("package-lock.json")).not.toMatch(/"resolved"/);
    expect(read(".npmrc")).toMatch(/^omit-lockfile-registry-resolved=true$/m);
  });

  it("has the optional packages of every platform in the lock file", () => {
    const { packages } = JSON.parse(read("package-lock.json")) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>;
    };
    const names = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + 13)));
    const missing = Object.values(packages)
      .flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
      .filter((name) => !names.has(name));
    expect(missing).toEqual([]);
  });

  it.each(globSync("{src,test,bench,tools,proto}/**/*.{ts,proto,sql}", { cwd: ROOT }))(
    "%s leaves nothing open",
    (file) => {
      expect(read(file)).not.toMatch(new RegExp(["TO", "DO|FIX", "ME"].join("")));
    },
  );
});
