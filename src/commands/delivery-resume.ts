import { answer, type Command, JSON_OPTION } from "./command.ts";
import { callServer, SERVER_OPTIONS } from "./server-client.ts";

/** `numberpool delivery resume`: lets the messages of a restored backup leave. */
export const deliveryResume: Command = {
  name: "delivery resume",
  summary: "Ends the hold of delivery that a server on a restored backup starts with; asks the running server.",
  details: `What was queued in the backup may have been sent since it was made. Cancel what must not be sent again first.
The server is asked with the key in NUMBERPOOL_API_KEY, which needs the scope admin.`,
  options: [...SERVER_OPTIONS, JSON_OPTION],
  run: async (call) => {
    const { data } = (await callServer(call, "POST", "/v2/delivery/actions/resume", {})) as { data: { state: string } };
    answer(call, `Delivery is ${data.state}: what waits in the queues leaves.`, { state: data.state });
  },
};
