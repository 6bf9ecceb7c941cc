import type { Carrier, Submission, SubmitAnswer } from "../../src/carriers/carrier.ts";

/** What a fake carrier was given: `nth` counts the submits of one message from 1, `at` is milliseconds of its clock. */
export type Submit = Submission & { readonly nth: number; readonly at: number };

/** A carrier that answers as it is told, at once, and remembers everything. */
export type FakeCarrier = Carrier & {
  readonly submits: Submit[];
  /** The messages that it took, each as often as it was taken. */
  readonly taken: string[];
};

type Answer = SubmitAnswer | undefined | "never";

/** `answer` may give undefined for "taken", and "never" for no answer at all; a promise answers when it resolves. */
export function fakeCarrier(
  name: string,
  clock: () => number,
  answer: (submit: Submit) => Answer | Promise<Answer> = () => undefined,
): FakeCarrier {
  const submits: Submit[] = [];
  const taken: string[] = [];
  const times = new Map<string, number>();
  return {
    name,
    window: 2_000,
    submits,
    taken,
    submit: async (submission) => {
      const nth = (times.get(submission.messageId) ?? 0) + 1;
      times.set(submission.messageId, nth);
      const submit = { ...submission, nth, at: clock() };
      submits.push(submit);
      const given = await answer(submit);
      if (given === "never") return new Promise(() => {});
      if (given !== undefined) return given;
      taken.push(submission.messageId);
      return { kind: "accepted", carrierMessageId: `${name}-${submits.length}` };
    },
    state: () => ({ kind: "connected" }),
    close: async () => {},
  };
}
