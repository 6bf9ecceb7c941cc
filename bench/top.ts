import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The number of printed functions. */
const MOST = 45;

type Profile = {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

/** The busy time of all CPU profiles in a folder by function, as lines of a table. */
export function topOfProfiles(folder: string): string[] {
  const times = new Map<string, number>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".cpuprofile"))) {
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, file), "utf8")) as Profile;
    const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
    samples.forEach((id, index) => {
      const name = names.get(id) ?? "?";
      times.set(name, (times.get(name) ?? 0) + (timeDeltas[index] ?? 0));
    });
  }
  times.delete("(idle)");
  const busy = [...times.values()].reduce((sum, time) => sum + time, 0);
  return [
    "",
    `Self time of the program, of ${Math.round(busy / 1e6)} busy seconds:`,
    ...[...times]
      .sort(([, a], [, b]) => b - a)
      .slice(0, MOST)
      .map(([name, time]) => `${((100 * time) / busy).toFixed(1).padStart(6)} %  ${name}`),
  ];
}

function nameOf({ functionName, url, lineNumber }: Profile["nodes"][number]["callFrame"]): string {
  const file = url.replace(/^.*?\/(?=(node_modules|src|gen|bin)\/)/, "").replace("node_modules/", "");
  return url === "" ? functionName : `${functionName || "(anonymous)"}  ${file}:${lineNumber + 1}`;
}
