import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../operation/program.ts";
import { API_KEY, startServer, type TestServer, temporaryFolder } from "../server.ts";
import { ONE_SENTENCE } from "./numberpool.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
afterAll(() => folder.remove());

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const skipped = hasOpenssl ? "" : " (skipped: openssl is not installed)";

/** A self-signed certificate for a name other than loopback's. */
function makeCertificate(name: string): void {
  const subject = ["-subj", "/CN=numberpool.example.com", "-addext", "subjectAltName=DNS:numberpool.example.com"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", at(`${name}.key`)];
  execFileSync("openssl", ["req", "-x509", ...key, "-out", at(`${name}.pem`), "-days", "2", ...subject], {
    stdio: "ignore",
  });
}

describe.skipIf(!hasOpenssl)(`A command that calls a server with TLS${skipped}`, () => {
  let server: TestServer;

  beforeAll(async () => {
    for (const name of ["server", "other"]) makeCertificate(name);
    const args = ["--tls-certificate", at("server.pem"), "--tls-key", at("server.key")];
    server = await startServer({ database: at("pool.db"), args });
  });

  afterAll(async () => {
    expect(await server.stop()).toBe(0);
  });

  /** Runs a command with the certificate of the configuration, found by http_address. */
  async function resume(certificate: string | undefined, ...args: readonly string[]) {
    const env = { NUMBERPOOL_API_KEY: API_KEY, NUMBERPOOL_HTTP_ADDRESS: new URL(server.url).host };
    const files = ["--tls-certificate", at(`${certificate}.pem`), "--tls-key", at(`${certificate}.key`)];
    const asked = run(["delivery", "resume", ...(certificate === undefined ? [] : files), ...args], env);
    const { code } = await asked.exited;
    return { code, stdout: asked.stdout(), stderr: asked.stderr() };
  }

  it("trusts the configured certificate, whatever name it is issued for", async () => {
    expect(await resume("server", "--json")).toEqual({ code: 0, stdout: '{"state":"active"}\n', stderr: "" });
  });

  it.each([
    ["another certificate", () => resume("other"), /certificate is not trusted/],
    [
      "no certificate",
      () => resume(undefined, "--url", server.url.replace("http:", "https:")),
      /not trusted|SELF_SIGNED/,
    ],
    ["plaintext", () => resume(undefined), /No server answers at http:/],
  ])("sends the key to no other server: %s", async (_what, ask, why) => {
    const { code, stdout, stderr } = await ask();
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(ONE_SENTENCE);
    expect(stderr).toMatch(why);
  });
});
