import { z } from "zod";
import { isDeliveryCode } from "../../domain/delivery-error.ts";

const behaviour = {
  /** The time until a submit is answered. */
  latency_milliseconds: z.int().min(0).max(600_000),
  /** The time from the answer to the receipt. */
  receipt_after_milliseconds: z.int().min(0).max(86_400_000),
  /** The share of ordinary messages that are delivered. */
  success_ratio: z.number().min(0).max(1),
  /** The documented code of the others: 40002 and 40003 are spam, 40013 is the sender's fault. */
  failure_code: z
    .union([z.string(), z.number().transform(String)])
    .refine(isDeliveryCode, "must be a documented failure code"),
};

/** The sandbox's section of the configuration file. */
export const sandboxSettings = z.strictObject({
  type: z.literal("sandbox"),
  latency_milliseconds: behaviour.latency_milliseconds.default(20),
  receipt_after_milliseconds: behaviour.receipt_after_milliseconds.default(200),
  success_ratio: behaviour.success_ratio.default(1),
  failure_code: behaviour.failure_code.default("40013"),
  /** The rate above which it throttles; 0: no limit. */
  segments_per_second: z.number().min(0).max(1_000_000).default(0),
  /**
   * A file that gets one line of JSON for each submit, before its answer; the line has only ids.
   */
  ledger: z.string().min(1, "must not be empty").optional(),
  /** The behaviour of single senders, by +E.164. */
  numbers: z
    .record(
      z.string().regex(/^\+\d+$/, "must be +E.164"),
      z.strictObject({
        latency_milliseconds: behaviour.latency_milliseconds.exactOptional(),
        receipt_after_milliseconds: behaviour.receipt_after_milliseconds.exactOptional(),
        success_ratio: behaviour.success_ratio.exactOptional(),
        failure_code: behaviour.failure_code.exactOptional(),
      }),
    )
    .default({}),
});

/** The checked settings of a sandbox. */
export type SandboxSettings = z.output<typeof sandboxSettings>;

/** How a sandbox behaves towards one sender. */
export type SandboxBehaviour = Pick<SandboxSettings, keyof typeof behaviour>;
