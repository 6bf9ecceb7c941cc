import { readFileSync } from "node:fs";

/** Ticks a second of the kernel's accounting: 100 on every Linux that Node supports. */
const TICKS = 100;

/** The CPU time of some processes with their threads, seconds; undefined without /proc. */
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
