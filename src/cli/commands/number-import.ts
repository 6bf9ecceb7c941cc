import { randomBytes } from "node:crypto";
import { createIds } from "../../domain/ids.ts";
import { DEFAULT_ORGANIZATION, findOrganization, unknownOrganization } from "../../server/organization.ts";
import type { Store } from "../../store/store.ts";
import { answer, type Command, type CommandCall, JSON_OPTION } from "../command.ts";
import { COLUMNS, type NumberFile, readNumberFile } from "../number-file.ts";
import { type CheckedRow, checkRows } from "../number-rows.ts";
import { type GoodRow, writeRows } from "../number-writes.ts";
import { createProgress, type Progress } from "../progress.ts";
import { withExistingStore } from "../with-store.ts";

/**
 * `numberpool number import`: registers the numbers of a CSV file; every row is checked before the
 * first is written.
 */
export const numberImport: Command = {
  name: "number import",
  summary: "Registers the numbers of a CSV file; every row is checked before the first is written.",
  details: `The first line names the columns, any of ${COLUMNS.join(", ")}.
Tags are separated by semicolons; empty cells take the defaults of POST /v2/phone_numbers.`,
  argument: "FILE.csv",
  options: [
    {
      name: "organization",
      value: "NAME",
      description: `The numbers' owner. Default: ${DEFAULT_ORGANIZATION}.`,
    },
    { name: "skip-bad", description: "Skips bad rows. Without it, one bad row prevents the whole import." },
    JSON_OPTION,
  ],
  run: async (call) => {
    const file = readNumberFile(call.argument);
    await withExistingStore(call.config, (store) => importNumbers(call, file, store));
  },
};

/** The most bad rows that are reported one by one. */
const MAX_REPORTED = 100;

async function importNumbers(call: CommandCall, file: NumberFile, store: Store): Promise<void> {
  const name = call.values.organization ?? DEFAULT_ORGANIZATION;
  const organization = await findOrganization(store, name);
  if (organization === undefined) throw unknownOrganization(name);
  const progress = createProgress(process.stderr, () => performance.now());
  const bad = createRowErrors(call.argument, progress);
  const good: GoodRow[] = [];
  const parts = {
    store,
    organizationId: organization.id,
    mayBeShared: call.config.allowSharedNumbers,
    carriers: [...call.config.carriers.keys()],
    ids: createIds(randomBytes),
    at: Date.now(),
  };
  for await (const rows of checkRows(file, parts)) {
    for (const row of rows) {
      if ("number" in row) good.push(row);
      else bad.report(row);
    }
    progress.show("checking", good.length + bad.count(), file.rows.length);
  }

  const total = file.rows.length;
  const mayWrite = bad.count() === 0 || call.switches.has("skip-bad");
  let imported = 0;
  if (mayWrite) {
    const refused = await write(store, good, progress, call.config.allowSharedNumbers);
    for (const row of refused) bad.report(row);
    imported = good.length - refused.length;
  }
  progress.clear();
  bad.reportRest();
  const outcome = {
    file: call.argument,
    organization: name,
    rows: total,
    imported,
    bad: bad.count(),
    errors: bad.reported,
  };
  const skipped = bad.count() === 0 ? "" : `; ${rowsText(bad.count())} skipped`;
  const summary = `${call.argument}: ${count(imported)} of ${rowsText(total)} imported into ${name}${skipped}.`;
  if (mayWrite || call.switches.has(JSON_OPTION.name)) answer(call, summary, outcome);
  if (!mayWrite) {
    throw new Error(
      `${call.argument}: ${count(bad.count())} of ${rowsText(total)} are bad, so none was imported; correct the file, or skip them with --skip-bad.`,
    );
  }
  if (bad.count() > 0 && !call.switches.has("skip-bad")) {
    throw new Error(
      `${call.argument}: ${rowsText(bad.count())} could not be written, because another process changed the database meanwhile.`,
    );
  }
}

/** Writes in short commits; a signal stops the import between two of them. */
async function write(store: Store, rows: readonly GoodRow[], progress: Progress, mayBeShared: boolean) {
  const stop = new AbortController();
  const onSignal = () => stop.abort(new Error("interrupted"));
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  try {
    return await writeRows(store, rows, { stop: stop.signal, mayBeShared }, (written) =>
      progress.show("importing", written, rows.length),
    );
  } finally {
    progress.clear();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

type RowError = Extract<CheckedRow, { readonly reason: string }>;

/** Reports bad rows on standard error: the first ones one by one, the rest as a count. */
function createRowErrors(file: string, progress: Progress) {
  let all = 0;
  const reported: RowError[] = [];
  return {
    reported,
    count: () => all,
    report: ({ line, reason }: RowError) => {
      all += 1;
      if (all > MAX_REPORTED) return;
      reported.push({ line, reason });
      progress.clear();
      process.stderr.write(`${file}:${line}: ${reason}\n`);
    },
    reportRest: () => {
      if (all > MAX_REPORTED) process.stderr.write(`${file}: ${rowsText(all - MAX_REPORTED)} more.\n`);
    },
  };
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}

function rowsText(number: number): string {
  return `${count(number)} ${number === 1 ? "row" : "rows"}`;
}
