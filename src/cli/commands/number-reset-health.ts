import { answer, type Command, JSON_OPTION } from "../command.ts";
import { callServer, SERVER_OPTIONS } from "../server-client.ts";

/** `numberpool number reset-health`: resets the health of a number. */
export const numberResetHealth: Command = {
  name: "number reset-health",
  summary: "Resets the health of a number, named by +E.164 or id; calls the running server.",
  details: `Outcomes of messages that were submitted before no longer count, even if their receipts arrive later. First remove the cause of the
failures: twelve new ones in a row make the number unhealthy again.
Uses the key in NUMBERPOOL_API_KEY, which needs the scope admin; its organization must own the number.`,
  argument: "NUMBER",
  options: [...SERVER_OPTIONS, JSON_OPTION],
  run: async (call) => {
    const path = `/v2/phone_numbers/${encodeURIComponent(call.argument)}/actions/reset_health`;
    const { data } = (await callServer(call, "POST", path, {})) as { data: Reset };
    answer(call, `The health of ${data.phone_number} was reset at ${data.health_reset_at}.`, {
      id: data.id,
      phone_number: data.phone_number,
      health_reset_at: data.health_reset_at,
    });
  },
};

type Reset = { readonly id: string; readonly phone_number: string; readonly health_reset_at: string };
