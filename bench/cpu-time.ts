import { readFileSync } from "node:fs";

/** Ticks a second of the kernel's accounting; 100 on every Linux that Node runs on. */
const TICKS = 100;

/** Seconds of CPU that some processes have used together, their threads included; undefined where there is no /proc. */
export function cpuSeconds(pids: readonly number[]): number | undefined {
  try {
    return pids.reduce((sum, pid) => {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      // The second field, the name in parentheses, may hold spaces.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return sum + (Number(fields[11]) + Number(fields[12])) / TICKS;
    }, 0);
  } catch {
    return undefined;
  }
}
