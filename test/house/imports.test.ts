import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

/** The rooms and packages that each room of the house may import. */
const TABLE: Readonly<Record<string, { readonly rooms: readonly string[]; readonly packages: RegExp }>> = {
  domain: { rooms: ["gen"], packages: /^(@bufbuild\/protobuf|node:crypto|node:zlib)$/ },
  store: { rooms: ["gen", "domain"], packages: /^(node:|better-sqlite3$|pg$)/ },
  carriers: { rooms: ["gen", "domain"], packages: /^(node:|zod$)/ },
  telemetry: { rooms: ["gen", "domain"], packages: /^(node:|pino$|prom-client$|@opentelemetry\/api$)/ },
  engine: { rooms: ["gen", "domain", "store", "carriers", "telemetry"], packages: /^node:/ },
  service: {
    rooms: ["gen", "domain", "store", "engine"],
    packages: /^(node:crypto$|@bufbuild\/protobuf)/,
  },
  transport: {
    rooms: ["gen", "domain", "store", "telemetry", "engine", "service"],
    packages: /^(node:|fastify$|@grpc\/(grpc-js|reflection)$|grpc-health-check$|@bufbuild\/protobuf|@connectrpc\/)/,
  },
  config: { rooms: ["domain", "carriers"], packages: /^(node:fs|yaml|zod)$/ },
  server: {
    rooms: ["gen", "domain", "store", "carriers", "telemetry", "engine", "service", "transport", "config"],
    packages: /^(node:|@grpc\/grpc-js$|@bufbuild\/protobuf)/,
  },
  cli: {
    rooms: ["gen", "domain", "store", "service", "transport", "config", "server"],
    packages: /^(node:|@bufbuild\/protobuf)/,
  },
  "main.ts": { rooms: ["cli", "config"], packages: /^$/ },
};

const files = globSync("src/**/*.ts", { cwd: ROOT });

/** The room of a path from the root: "domain", "main.ts", "gen". */
function roomOf(path: string): string {
  const [first, second = ""] = path.split("/");
  return first === "src" ? second : (first ?? "");
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  return [...text.matchAll(/^(?:import|export)\b[^"';]*?from "([^"]+)"|^import "([^"]+)"|\bimport\("([^"]+)"\)/gm)].map(
    (match) => (match[1] ?? match[2] ?? match[3]) as string,
  );
}

/** A circle of files that import each other, from any file in it back to itself; undefined: there is none. */
function circleIn(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (finished.has(file)) return undefined;
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const circle = visit(next);
      if (circle !== undefined) return circle;
    }
    path.pop();
    finished.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const circle = visit(file);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

describe("no files import each other in a circle", () => {
  it.each([["src/**/*.ts"], ["bench/**/*.ts"], ["tools/**/*.ts"], ["test/**/*.ts"]])("%s", (pattern) => {
    const graph = new Map(
      globSync(pattern, { cwd: ROOT }).map((file) => [
        file,
        importsOf(file).flatMap((name) =>
          name.startsWith(".") ? [relative(ROOT, join(ROOT, dirname(file), name))] : [],
        ),
      ]),
    );
    expect(graph.size).toBeGreaterThan(0);
    expect(circleIn(graph)).toBeUndefined();
  });

  it("and a circle is found", () => {
    const graph = new Map([
      ["a", ["b"]],
      ["b", ["c", "d"]],
      ["c", []],
      ["d", ["b"]],
    ]);
    expect(circleIn(graph)).toEqual(["b", "d", "b"]);
  });
});

describe("imports run one way", () => {
  it("knows every room", () => {
    expect(files.length).toBeGreaterThan(40);
    expect([...new Set(files.map(roomOf))].filter((room) => TABLE[room] === undefined)).toEqual([]);
  });

  it.each(files)("%s", (file) => {
    const room = roomOf(file);
    const rule = TABLE[room] as (typeof TABLE)[string];
    const wrong = importsOf(file).filter((name) => {
      if (!name.startsWith(".")) return !rule.packages.test(name);
      const target = roomOf(relative(ROOT, join(ROOT, dirname(file), name)));
      return target !== room && !rule.rooms.includes(target);
    });
    expect(wrong).toEqual([]);
  });
});

describe("the environment enters in one place", () => {
  const inner = files.filter((file) => !/^src\/(main\.ts|server\/|cli\/)/.test(file));

  it.each(inner)("%s takes clock, chance and environment as values", (file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    const touched =
      text.match(/\bprocess\.\w|\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\brandomBytes\b|\brandomUUID\b/g) ?? [];
    expect(touched).toEqual([]);
  });
});
