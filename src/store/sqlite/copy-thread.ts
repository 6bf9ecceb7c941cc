import { parentPort, workerData } from "node:worker_threads";
import { copyVerified } from "./copy.ts";

// The body of the thread that `startCopy` starts.
const { from, to } = workerData as { readonly from: string; readonly to: string };
parentPort?.postMessage(copyVerified(from, to, () => parentPort?.postMessage("copied")));
