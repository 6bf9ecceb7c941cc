import { MessageEventSchema } from "../../../gen/numberpool/v1/message_event_pb.ts";
import { MessageSchema } from "../../../gen/numberpool/v1/message_pb.ts";
import { reasonName } from "../../domain/error-form.ts";
import { canonicalId } from "../../domain/ids.ts";
import type { Message } from "../../domain/message.ts";
import type { MessageEvent } from "../../domain/message-event.ts";
import { toProtoAcceptance, toProtoEvent } from "../../service/message-event-form.ts";
import { toProtoMessage } from "../../service/message-form.ts";
import type { Store } from "../../store/store.ts";
import { jsonEncoderOf } from "../../transport/json/encode.ts";
import { answer, type Command, JSON_OPTION } from "../command.ts";
import { table } from "../table.ts";
import { withExistingStore } from "../with-store.ts";

/** `numberpool message ID`: shows one message's history, whatever its organization. */
export const message: Command = {
  name: "message",
  summary: "Shows a message's history: the decision and its reasons, every submit, every receipt.",
  argument: "ID",
  options: [JSON_OPTION],
  run: async (call) => {
    await withExistingStore(call.config, async (store) => {
      const found = await find(store, canonicalId(call.argument));
      if (found === undefined) throw new Error(`No message has the id ${JSON.stringify(call.argument)}.`);
      const events = [
        toProtoAcceptance(found),
        ...(await historyOf(store, found)).map((each) => toProtoEvent(each, found)),
      ];
      const encodeEvent = jsonEncoderOf(MessageEventSchema);
      const encoded = events.map((event) => JSON.parse(encodeEvent(event)));
      const rows = encoded.map((event, index) => [
        event.occurred_at,
        event.type,
        event.status,
        event.carrier_message_id ?? "",
        event.carrier_code ?? "",
        events[index]?.reason ? reasonName(events[index].reason) : "",
        event.detail ?? "",
      ]);
      const heads = ["TIME", "EVENT", "STATUS", "CARRIER'S ID", "CARRIER'S CODE", "REASON", "DETAIL"];
      const json = { message: JSON.parse(jsonEncoderOf(MessageSchema)(toProtoMessage(found))), events: encoded };
      answer(call, `${headline(found)}\n\n${table(heads, rows)}`, json);
    });
  },
};

const PAGE_EVENTS = 1_000;

async function find(store: Store, id: string): Promise<Message | undefined> {
  for (const organization of await store.listOrganizations()) {
    const found = await store.getMessage(organization.id, id);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function historyOf(store: Store, { organizationId, id }: Message): Promise<MessageEvent[]> {
  const events: MessageEvent[] = [];
  let after: string | undefined;
  do {
    const page = await store.listMessageEvents(organizationId, id, { after, limit: PAGE_EVENTS });
    events.push(...page.rows);
    after = page.next;
  } while (after !== undefined);
  return events;
}

function headline({ id, status, from, to, parts, carrier }: Message): string {
  const route = `${from ?? "(no sender yet)"} to ${to}${carrier === undefined ? "" : ` through ${carrier}`}`;
  return `${id}: ${status}, ${route}, ${parts} ${parts === 1 ? "part" : "parts"}`;
}
