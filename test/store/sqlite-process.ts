import { Failure } from "../../src/domain/failure.ts";
import { holdExclusively, openConnection } from "../../src/store/sqlite/open.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";

// Another process on a SQLite file: `hold PATH`, `open PATH` or `probe PATH`. It says when it is ready, works at every line that
// comes in, tells how that went, and stays until its input ends.
const [work, path = ""] = process.argv.slice(2);

const tell = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`);

function prepare(): () => Promise<unknown> {
  if (work === "hold") return async () => holdExclusively(path);
  if (work === "open") return async () => openConnection(path).close();
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

const perform = prepare();
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
