import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createMaintenance, type Maintenance, type MaintenanceTask } from "../../src/engine/maintenance/maintenance.ts";

const INTERVAL = 1_000;

let failures: string[];
let maintenance: Maintenance | undefined;

beforeEach(() => {
  failures = [];
  vi.useFakeTimers();
});

afterEach(async () => {
  const stopped = maintenance?.stop();
  await vi.advanceTimersByTimeAsync(10 * INTERVAL);
  await stopped;
  vi.useRealTimers();
});

function keep(...tasks: Partial<MaintenanceTask>[]): Maintenance {
  const log = pino({ level: "error" }, { write: (line: string) => failures.push(JSON.parse(line).task) });
  const whole = tasks.map((task) => ({
    name: "sweep",
    intervalMs: INTERVAL,
    step: async () => false,
    ...task,
  }));
  maintenance = createMaintenance(whole, log);
  return maintenance;
}

describe("Maintenance", () => {
  it("does nothing before it starts, and then every task in its own rhythm", async () => {
    const [often, seldom] = [vi.fn(async () => false), vi.fn(async () => false)];
    const { start } = keep({ step: often }, { step: seldom, intervalMs: 5 * INTERVAL });
    await vi.advanceTimersByTimeAsync(10 * INTERVAL);
    expect(often).not.toHaveBeenCalled();
    start();
    await vi.advanceTimersByTimeAsync(10 * INTERVAL);
    expect([often.mock.calls.length, seldom.mock.calls.length]).toEqual([10, 2]);
  });

  it("goes on at once where there is more to do, and rests in between for nine times as long as a step took", async () => {
    let left = 5;
    const begun: number[] = [];
    const step = async () => {
      begun.push(performance.now());
      await new Promise((resolve) => setTimeout(resolve, 10));
      left -= 1;
      return left > 0;
    };
    keep({ step }).start();
    await vi.advanceTimersByTimeAsync(INTERVAL + 500);
    expect(begun.length).toBe(5);
    const pauses = begun.slice(1).map((at, index) => at - (begun[index] as number));
    for (const pause of pauses) {
      expect(pause).toBeGreaterThanOrEqual(99);
      expect(pause).toBeLessThan(130);
    }
  });

  it("rests no longer than its interval after a step that took its time", async () => {
    const step = vi.fn(async () => {
      await new Promise((resolve) => setTimeout(resolve, 600));
      return true;
    });
    keep({ step }).start();
    await vi.advanceTimersByTimeAsync(INTERVAL + 3 * (600 + INTERVAL) + 10);
    expect(step).toHaveBeenCalledTimes(4);
  });

  it("never does a task twice at once", async () => {
    let doing = 0;
    let most = 0;
    const step = async () => {
      doing += 1;
      most = Math.max(most, doing);
      await new Promise((resolve) => setTimeout(resolve, 3 * INTERVAL));
      doing -= 1;
      return false;
    };
    keep({ step }).start();
    await vi.advanceTimersByTimeAsync(20 * INTERVAL);
    expect(most).toBe(1);
  });

  it("logs a task that fails, runs it again, and goes on with the others", async () => {
    const failing = vi.fn(async () => {
      throw new Error("the database is away");
    });
    const other = vi.fn(async () => false);
    keep({ step: failing, name: "dust" }, { step: other }).start();
    await vi.advanceTimersByTimeAsync(3 * INTERVAL);
    expect([failing.mock.calls.length, other.mock.calls.length]).toEqual([3, 3]);
    expect(failures).toEqual(["dust", "dust", "dust"]);
  });

  it("is stopped when what was being done is done, and does nothing more", async () => {
    let isDone = false;
    const step = vi.fn(async () => {
      await new Promise((resolve) => setTimeout(resolve, 400));
      isDone = true;
      return true;
    });
    const { start, stop } = keep({ step });
    start();
    await vi.advanceTimersByTimeAsync(INTERVAL);
    const stopped = stop().then(() => isDone);
    await vi.advanceTimersByTimeAsync(10 * INTERVAL);
    expect(await stopped).toBe(true);
    expect(step).toHaveBeenCalledTimes(1);
  });
});
