import { answer, type Command, JSON_OPTION } from "../command.ts";
import { callServer, SERVER_OPTIONS } from "../server-client.ts";

/** `numberpool delivery resume`: ends the hold of delivery on a restored backup. */
export const deliveryResume: Command = {
  name: "delivery resume",
  summary: "Resumes delivery, which a server on a restored backup holds; calls the running server.",
  details: `Messages that were queued in the backup may have been sent since. First cancel those that must not be sent again.
Uses the key in NUMBERPOOL_API_KEY, which needs the scope admin.`,
  options: [...SERVER_OPTIONS, JSON_OPTION],
  run: async (call) => {
    const { data } = (await callServer(call, "POST", "/v2/delivery/actions/resume", {})) as { data: { state: string } };
    answer(call, `Delivery is ${data.state}; queued messages are sent.`, { state: data.state });
  },
};
