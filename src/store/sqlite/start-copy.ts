import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Copy } from "./copy.ts";

/**
 * Runs `copyVerified` in a thread, so that this one can show progress and handle signals meanwhile.
 * Rejects with its error.
 */
export function startCopy(from: string, to: string, heldSince: number, onCopied: () => void): Promise<Copy> {
  // In a built program the file has another extension.
  const body = new URL(`copy-thread${extname(import.meta.url)}`, import.meta.url);
  return new Promise((resolve, reject) => {
    const thread = new Worker(body, { workerData: { from, to, heldSince } });
    thread.on("message", (message: "copied" | Copy) => {
      if (message === "copied") onCopied();
      else resolve(message);
    });
    thread.on("error", reject);
    thread.on("exit", () => reject(new Error("The copy ended before it was complete.")));
  });
}
