import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new temporary folder, and how to remove it with all it holds. */
export function temporaryFolder(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "numberpool-store-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
