import type { Command } from "../command.ts";

/** `numberpool serve`: runs the server. */
export const serve: Command = {
  name: "serve",
  summary: "Serves the JSON and gRPC transports until SIGTERM or SIGINT.",
  options: [],
  // Other commands do not load the server, which is most of the program.
  run: async ({ config }) => (await import("../../server/serve.ts")).serve(config),
};
