import { type Span, trace } from "@opentelemetry/api";
import { pino } from "pino";
import { beforeAll, describe, expect, it } from "vitest";
import { readConfig } from "../../src/config/read.ts";
import { openDatabase } from "../../src/server/database.ts";
import { traced } from "../../src/telemetry/call-span.ts";
import { traceAccept, traceReport, traceSubmit } from "../../src/telemetry/message-spans.ts";
import { temporaryFolder } from "../server.ts";
import { anOrganization } from "../store/contract/records.ts";

const broken = (): never => {
  throw new Error("the exporter is broken");
};

/** What the spans of these tests fail at. */
let failing: "start" | "end" = "start";

describe("Telemetry that fails", () => {
  beforeAll(() => {
    const span = {
      spanContext: () => ({ traceId: "1".repeat(32), spanId: "1".repeat(16), traceFlags: 1 }),
      setAttribute: broken,
      setStatus: broken,
      addEvent: broken,
      end: broken,
    } as unknown as Span;
    const startSpan = () => (failing === "start" ? broken() : span);
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan, startActiveSpan: broken }) });
  });

  it("does not fail a commit: the observer's error is logged, and the transaction counts", async () => {
    const folder = temporaryFolder();
    const lines: { event: string }[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const read = readConfig({}, { NUMBERPOOL_DATABASE: `${folder.path}/numberpool.db` });
    if ("errors" in read) throw new Error(read.errors.join("\n"));
    const { store, close } = await openDatabase(read.config, Object.assign(log, { flush: () => {} }), broken);
    const organization = anOrganization();
    await store.insertOrganization(organization);
    let decisions = 0;
    await store.accept({ recipients: [], keys: [], retries: [] }, () => {
      decisions += 1;
      return {};
    });
    expect(decisions).toBe(1);
    expect(await store.listOrganizations()).toContainEqual(organization);
    expect(lines.map(({ event }) => event)).toContain("metrics_update_failed");
    await close();
    folder.remove();
  });

  it.each([["start"], ["end"]] as const)(
    "does not fail a call, a transaction, a submit or a report whose spans do not %s",
    async (when) => {
      failing = when;
      const header = () => undefined;
      const code = () => "OK";
      expect(await traced("/a.B/C", header, async () => 1, code)).toBe(1);
      const decide = async (markDecided: () => void) => {
        markDecided();
        return 2;
      };
      expect(await traceAccept([undefined], decide)).toBe(2);
      const answer = { kind: "accepted" } as const;
      expect(await traceSubmit({ id: "m", carrier: "sandbox" }, async () => answer)).toBe(answer);
      const applied = { messageId: "m" } as never;
      const report = { kind: "submit_unconfirmed", at: 0 } as const;
      const target = { organizationId: "o", messageId: "m" };
      expect(await traceReport({ target, report }, async () => applied)).toBe(applied);
    },
  );
});
