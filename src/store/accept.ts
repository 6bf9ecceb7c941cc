import type { IdempotencyKey, IdempotencyRecord, RetryKey } from "../domain/idempotency.ts";
import type { Message } from "../domain/message.ts";
import type { Changes } from "../domain/plan/changes.ts";
import type { RecipientFacts, RecipientKey } from "../domain/recipient.ts";
import type { Trials } from "./trials.ts";

/** Accepting messages. */
export type AcceptStore = {
  /**
   * Reads the facts that a group of sends needs, has `decide` decide all of them, and writes its
   * changes, in one transaction. `decide` may have run when the transaction fails: the caller then
   * undoes its effects. `decide` may run again when the database rolled the transaction back in
   * favour of another: each run first undoes the effects of the run before.
   */
  readonly accept: (reads: AcceptReads, decide: (facts: AcceptFacts) => AcceptWrites) => Promise<void>;
};

/** The facts to read for a group of sends; `AcceptFacts` has them in the same order. */
export type AcceptReads = {
  /** `sticky`: reads the mapping too. */
  readonly recipients: readonly (RecipientKey & { readonly sticky: boolean })[];
  readonly keys: readonly IdempotencyKey[];
  readonly retries: readonly RetryKey[];
  /**
   * Hashes of sends that a client may repeat without a key. A shared store locks them until the
   * commit has ended: those of first attempts shared with each other, those of `retries`
   * exclusively. See `inFlight`.
   */
  readonly firstAttempts?: readonly Uint8Array[];
};

/** The facts for a group of sends. */
export type AcceptFacts = {
  /** Numbers on trial that an earlier run picked, and that must not be picked: see `Trials`. */
  readonly occupied?: readonly string[] | undefined;
  readonly recipients: readonly RecipientFacts[];
  readonly keys: readonly (IdempotencyRecord | undefined)[];
  /**
   * The hashes, by `hashTextOf`, that another transaction locks. Its outcome is unknown: their
   * sends must not be accepted.
   */
  readonly inFlight?: ReadonlySet<string> | undefined;
  /** The latest message of an equal send. */
  readonly retries: readonly (Message | undefined)[];
};

/** The changes of a group of sends. */
export type AcceptWrites = Changes & Trials;

/** A hash as a key of sets and maps. */
export function hashTextOf(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString("latin1");
}
