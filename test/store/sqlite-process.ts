import { Failure } from "../../src/domain/failure.ts";
import { holdExclusively, openConnection } from "../../src/store/sqlite/open.ts";

// Another process on a SQLite file: `hold PATH`, `open PATH` or `probe PATH`. It says when it is ready, works at every line that
// comes in, tells how that went, and stays until its input ends.
const [work, path = ""] = process.argv.slice(2);

const tell = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`);

async function prepare(): Promise<() => Promise<unknown>> {
  if (work === "hold") return async () => holdExclusively(path);
  if (work === "open") return async () => openConnection(path).close();
  // Only here, as the others are started by the dozen.
  const { openSqliteStore } = await import("../../src/store/sqlite/sqlite-store.ts");
  let isLost = false;
  const store = openSqliteStore(path, {
    onLost: () => {
      isLost = true;
    },
  });
  return () =>
    store.probe().catch((error) => {
      throw isLost ? new Error("the store is lost") : error;
    });
}

const perform = await prepare();
process.stdin.on("data", async () => {
  const began = performance.now();
  const outcome = await perform().then(
    () => ({ done: true }),
    (error) => ({
      done: false,
      message: error.message,
      reason: error instanceof Failure ? error.refusal.reason : undefined,
    }),
  );
  tell({ ...outcome, after: performance.now() - began });
});
process.stdin.on("end", () => process.exit());
tell({ ready: true });
