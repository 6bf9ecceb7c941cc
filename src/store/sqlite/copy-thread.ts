import { parentPort, workerData } from "node:worker_threads";
import { copyVerified } from "./copy.ts";

// The body of the thread that `startCopy` starts.
const { from, to, heldSince } = workerData as {
  readonly from: string;
  readonly to: string;
  readonly heldSince: number;
};
parentPort?.postMessage(copyVerified(from, to, heldSince, () => parentPort?.postMessage("copied")));
