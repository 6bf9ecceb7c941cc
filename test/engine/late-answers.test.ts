import { pino } from "pino";
import { expect, it } from "vitest";
import type { SubmitAnswer } from "../../src/carriers/carrier.ts";
import type { CarrierReport } from "../../src/domain/carrier-report.ts";
import { createLateAnswers } from "../../src/engine/dispatch/late-answers.ts";

it("a bounded number of late answers is expected: the oldest is forgotten first", async () => {
  const reported: CarrierReport[] = [];
  const late = createLateAnswers({
    report: async (report) => reported.push(report),
    clock: () => 7,
    log: pino({ level: "silent" }),
    limit: 3,
  });
  const answers: ((answer: SubmitAnswer) => void)[] = [];
  for (const id of ["a", "b", "c", "d", "e"]) {
    const submit = { organizationId: "o", id, carrier: "smsc", submits: 1 };
    late.expect(submit, new Promise((resolve) => answers.push(resolve)));
  }
  for (const [index, answer] of answers.entries()) answer({ kind: "accepted", carrierMessageId: `c-${index}` });
  await new Promise((resolve) => setImmediate(resolve));
  expect(reported).toEqual(
    ["c", "d", "e"].map((messageId, index) => ({
      target: { organizationId: "o", messageId },
      carrier: "smsc",
      report: { kind: "accepted", at: 7, carrierMessageId: `c-${index + 2}` },
      submit: 1,
    })),
  );
});
