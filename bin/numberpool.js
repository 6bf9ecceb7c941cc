#!/usr/bin/env node
// Checks the Node version before anything else is loaded: an older Node cannot load TypeScript, and the
// SQLite addon ends it without an error. An older Node starts the one that npm installed.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import nodeModule, { createRequire } from "node:module";
import { dirname, join } from "node:path";

const MIN_VERSION = [22, 19];

const isNewEnough = (version) => {
  const [major, minor] = version.split(".").map(Number);
  return major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1]);
};

const packagedNode = () => {
  const name = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
  try {
    const file = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "bin", "node");
    return existsSync(file) ? file : undefined;
  } catch {
    return undefined;
  }
};

if (isNewEnough(process.versions.node)) {
  // Caching compiled code saves half a second at every later start.
  nodeModule.enableCompileCache?.();
  const built = new URL("../dist/src/main.js", import.meta.url);
  const source = new URL("../src/main.ts", import.meta.url);
  const { main } = await import(existsSync(source) ? source.href : built.href);
  await main(process.argv.slice(2));
} else {
  const node = packagedNode();
  if (node === undefined) {
    console.error(
      `Numberpool needs Node ${MIN_VERSION.join(".")} or later; this is ${process.versions.node}. Install Node 24.`,
    );
    process.exit(1);
  }
  const child = spawn(node, process.argv.slice(1), { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
