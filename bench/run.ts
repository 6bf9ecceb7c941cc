// Checks the Node version before loading the rest, which an older Node cannot load.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major > 22 || (major === 22 && minor >= 19)) {
  const { bench } = await import("./bench.ts");
  await bench(process.argv.slice(2)).catch((error) => {
    console.error(`The benchmark ended early. ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  });
} else {
  console.error(
    `The benchmark needs Node 22.19 or later, but this is ${process.versions.node}; use \`npm run bench\`.`,
  );
  process.exitCode = 1;
}
