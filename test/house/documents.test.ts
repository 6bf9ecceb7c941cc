import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { SETTINGS } from "../../src/config/settings.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const DOCUMENTS = globSync(["*.md", "docs/**/*.md"], { cwd: ROOT }).sort();

/** A document without its blocks of code. */
const proseOf = (path: string) => read(path).replaceAll(/^```.*?^```$/gms, "");

/** The anchors of a document's headings, as GitHub makes them. */
const anchorsOf = (path: string) =>
  [...proseOf(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\- _]/gu, "")
      .replaceAll(" ", "-"),
  );

describe("The documents", () => {
  it("are all there", () => {
    const names = ["api", "architecture", "configuration", "delivery", "operations", "postgres", "sdks", "sizing"];
    const others = ["CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];
    expect(DOCUMENTS).toEqual(expect.arrayContaining([...others, ...names.map((name) => `docs/${name}.md`)]));
    expect(existsSync(join(ROOT, ".editorconfig"))).toBe(true);
  });

  it("are each reached from the README", () => {
    const linked = [...read("README.md").matchAll(/\]\(([^)#]+)/g)].map(([, target]) => target);
    expect(DOCUMENTS.filter((path) => path !== "README.md" && !linked.includes(path))).toEqual([]);
  });

  it.each(DOCUMENTS)("%s links to files and headings that exist", (path) => {
    const links = [...proseOf(path).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
    const broken = links
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [file = "", anchor] = target.split("#");
        const found = file === "" ? path : normalize(join(dirname(path), file));
        if (!existsSync(join(ROOT, found))) return true;
        return anchor !== undefined && !anchorsOf(found).includes(anchor);
      });
    expect(broken).toEqual([]);
  });

  it.each(DOCUMENTS)("%s has at most 100 columns of prose", (path) => {
    const lines = proseOf(path).split("\n");
    expect(lines.filter((line) => !line.startsWith("|") && [...line].length > 100)).toEqual([]);
  });

  it.each(DOCUMENTS)("%s names npm scripts that exist", (path) => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...read(path).matchAll(/\bnpm (?:run (?:-s )?([\w:-]+)|(start|test)\b)/g)];
    expect(named.map(([, script, short]) => script ?? short).filter((name) => !((name ?? "") in scripts))).toEqual([]);
  });

  it.each(DOCUMENTS)("%s names files of the repository that exist", (path) => {
    const named = [
      ...proseOf(path).matchAll(/`((?:\.ci|bench|bin|deploy|docs|gen|proto|src|test|tools)\/[^`\s]*)`/g),
    ].map(([, file = ""]) => file);
    expect(named.filter((file) => globSync(file.replace(/\/$/, ""), { cwd: ROOT }).length === 0)).toEqual([]);
  });
});

describe("CONTRIBUTING.md", () => {
  it("describes a check that does what CI does without Debian tools", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const steps = [...read(".ci/run").matchAll(/^step '.*' npm (?:run -s )?([a-z-]+)$/gm)].map(([, name]) => name);
    expect(steps).toEqual(expect.arrayContaining(["ci", "test", "lint", "types"]));
    const checked = [...(scripts.check ?? "").matchAll(/npm (?:run -s )?([a-z-]+)/g)].map(([, name]) => name);
    expect(steps.filter((name) => name !== "ci" && !checked.includes(name))).toEqual([]);
    expect(checked).toContain("check-generated");
  });
});

describe("README.md", () => {
  it("is read in five minutes", () => {
    expect(read("README.md").trimEnd().split("\n").length).toBeLessThanOrEqual(150);
  });
});

describe("docs/configuration.md", () => {
  it("lists every setting with its default and meaning", () => {
    const rows = read("docs/configuration.md").split("\n");
    for (const { name, variable, flag, isSecret, description, default: value } of SETTINGS) {
      const row = rows.find((line) => line.startsWith(`| \`${name}\` |`)) ?? "";
      const option = isSecret ? " " : ` \`--${value === true ? "no-" : ""}${flag}\` `;
      const shown = value === undefined ? " " : ` \`${value}\` `;
      expect(row).toBe(`| \`${name}\` | \`${variable}\` |${option}|${shown}| ${description} |`);
    }
  });
});

describe("docs/api.md", () => {
  it("lists exactly the paths of the contract", () => {
    const rows = read("docs/api.md").matchAll(/^\| `([A-Z]+) (\/v2\/\S+)` \| (\w+)/gm);
    const { paths } = JSON.parse(read("gen/openapi.json")) as {
      paths: Record<string, Record<string, { readonly operationId?: string }>>;
    };
    const verbs = ["get", "post", "put", "patch", "delete"];
    const served = Object.entries(paths).flatMap(([path, operations]) =>
      verbs.flatMap((verb) => {
        // A method has a further id for each further path.
        const method = operations[verb]?.operationId?.replace(/At\w+$/, "");
        return method === undefined ? [] : [`${verb.toUpperCase()} ${path} ${method}`];
      }),
    );
    expect([...rows].map(([, verb, path, method]) => `${verb} ${path} ${method}`).sort()).toEqual(served.sort());
  });
});

describe("docs/operations.md", () => {
  const sources = globSync("src/**/*.ts", { cwd: ROOT }).map(read).join("\n");

  it("lists exactly the metrics of the program", () => {
    const rows = read("docs/operations.md").matchAll(/^\| `(numberpool_\w+)` \| (?:counter|gauge|histogram) \|/gm);
    const created = sources.matchAll(/name: "(numberpool_\w+)"/g);
    expect([...rows].map(([, name]) => name).sort()).toEqual([...created].map(([, name]) => name).sort());
  });

  it("lists events that the log has", () => {
    const rows = read("docs/operations.md").matchAll(/^\| ((?:`[a-z_]+`(?:, )?)+) \| (?:info|warn|error|fatal)/gm);
    const named = [...rows].flatMap(([, cell = ""]) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !sources.includes(`event: "${name}"`))).toEqual([]);
  });
});
