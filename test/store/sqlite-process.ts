import { Failure } from "../../src/domain/failure.ts";
import { holdExclusively, openConnection } from "../../src/store/sqlite/open.ts";

// Another process on a SQLite file: `hold PATH`, `open PATH` or `probe PATH`. It writes a line when
// it is ready, works once for each line of its input, writes the outcome, and ends with its input.
const [work, path = ""] = process.argv.slice(2);

const tell = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`);

async function prepare(): Promise<() => Promise<unknown>> {
  if (work === "hold") return async () => holdExclusively(path);
  if (work === "open") return async () => openConnection(path).close();
  // Imported here, because the other modes start many processes.
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
