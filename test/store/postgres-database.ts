import { inject } from "vitest";

/**
 * The URL of an empty PostgreSQL database of its own, on the server that all test files of this run
 * share.
 */
export async function freshDatabase(): Promise<string> {
  const answer = await fetch(inject("postgresDatabases"));
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}
