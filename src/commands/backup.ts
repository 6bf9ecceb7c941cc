import type { Command } from "./command.ts";
export const backup: Command = { name: "backup", summary: "", argument: "FILE", options: [], run: async () => {} };
