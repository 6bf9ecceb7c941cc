import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, temporaryFolder } from "../server.ts";
import { freshNumber } from "../wire/pools.ts";
import {
  type AgreeingClient,
  bufCurl,
  type ClientOutcome,
  connectNode,
  curl,
  grpcJs,
  pythonGrpc,
  telnyx,
} from "./agreeing-clients.ts";
import { type Json, type JsonObject, methodOf } from "./contract.ts";
import { executable } from "./program.ts";
import { buildImage, generatePython, missingForPython, python } from "./python.ts";

const folder = temporaryFolder();
let server: TestServer;
let reference: readonly Step[];

beforeAll(async () => {
  server = await startServer({ database: join(folder.path, "numberpool.db") });
  const client = grpcJs(server);
  reference = await play(client);
  client.close();
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  folder.remove();
});

/** A client's outcome at one step, without the values that differ between clients. */
type Step = { readonly name: string; readonly outcome: Json };

const UNKNOWN_ID = "01900000-0000-7000-8000-000000000000";

/** Runs the scenario with the client's own numbers, and gives its outcomes. */
async function play({ call }: AgreeingClient): Promise<readonly Step[]> {
  const steps: Step[] = [];
  const numbers = [freshNumber("212"), freshNumber("312"), freshNumber("800")];
  const slow = freshNumber("415");

  const step = async (name: string, method: string, request: JsonObject): Promise<JsonObject> => {
    const outcome = await call(methodOf(method), request);
    steps.push({ name, outcome: inGeneral(outcome, [...numbers, slow]) });
    return "answer" in outcome ? outcome.answer : {};
  };
  const id = (answer: JsonObject) => (answer.data as JsonObject).id as string;

  const created = await step("create a profile", "CreateProfile", {
    profile: { name: "Agreed upon", whitelisted_destinations: ["US"] },
  });
  const messaging_profile_id = id(created);
  for (const [index, phone_number] of numbers.entries()) {
    const number = { phone_number, messaging_profile_id, segments_per_second: 100, tags: [`number ${index}`] };
    await step("register a number", "RegisterNumber", { number });
  }
  await step("register it again", "RegisterNumber", { number: { phone_number: numbers[0] as string } });

  const send = (to: Json, more: JsonObject = {}) => ({ messaging_profile_id, to, text: "Hello", ...more });
  await step("send while the pool is off", "SendMessage", send("+13125570001"));
  await step("turn the pool on", "UpdateProfile", {
    id: messaging_profile_id,
    profile: {
      number_pool_settings: { long_code_weight: 5, toll_free_weight: 1, geomatch: true, sticky_sender: true },
    },
  });
  await step("preview", "PreviewSender", send("+13125570001"));
  const sent = await step("send", "SendMessage", send("+13125570001"));
  await step("get", "GetMessage", { id: id(sent) });
  await step("send again, to a recipient that sticks", "SendMessage", send("+13125570001"));
  await step("send to where no number is", "SendMessage", send("+19075570001", { text: "Ahoj, světe 👋" }));
  await step("send from a number", "CreateMessage", send("+13125570002", { from: numbers[2] as string }));
  await step("send from a number that is not ours", "CreateMessage", send("+13125570002", { from: "+12125599999" }));
  await step("send a batch with a bad item", "SendMessages", {
    messages: [send("+12125570003"), send("nobody"), send("+13125570003")],
  });

  await step(
    "send through an unknown profile",
    "SendMessage",
    send("+13125570001", { messaging_profile_id: UNKNOWN_ID }),
  );
  await step("get an unknown message", "GetMessage", { id: UNKNOWN_ID });
  await step("send to nobody", "SendMessage", send("nobody"));
  await step("send without to", "SendMessage", { messaging_profile_id, text: "Hello" });
  await step("send without text", "SendMessage", { messaging_profile_id, to: "+13125570001" });
  await step("send far too much text", "SendMessage", send("+13125570001", { text: "x".repeat(2_000) }));
  await step("send abroad", "SendMessage", send("+442071838750"));

  await step("opt a recipient out", "AddOptOut", { messaging_profile_id, to: "+13125570004" });
  await step("send to a recipient that opted out", "SendMessage", send("+13125570004"));
  await step("preview to a recipient that opted out", "PreviewSender", send("+13125570004"));

  const full = await step("create a profile with a slow number", "CreateProfile", {
    profile: { name: "Slow", whitelisted_destinations: ["US"], number_pool_settings: { long_code_weight: 1 } },
  });
  await step("register the slow number", "RegisterNumber", {
    number: { phone_number: slow, messaging_profile_id: id(full), segments_per_second: 0.001 },
  });
  const text = { messaging_profile_id: id(full), to: "+13125570005", text: "Slowly" };
  await step("fill its queue", "SendMessages", { messages: Array.from({ length: 10 }, () => ({ ...text })) });
  await step("send into a full queue", "SendMessage", text);
  await step("preview into a full queue", "PreviewSender", text);
  return steps;
}

/**
 * The values that proto and documented JSON share, with the sender as its index among the client's
 * numbers.
 */
function inGeneral(outcome: ClientOutcome, numbers: readonly string[]): Json {
  if ("answer" in outcome) return simplified(outcome.answer, "", numbers);
  const { detail, pointer, ...rest } = outcome.refusal;
  // In JSON the body is that field of the request.
  const ofBody = pointer?.replace(/^\/(number|profile|settings)\//, "/");
  return { ...rest, detail: timeless(detail), pointer: ofBody ?? null };
}

/** Seconds pass between two clients. */
const timeless = (detail: string) => detail.replace(/in \d+ s/, "in some s");

/**
 * Times, ids and waits differ; absent is null, 0, false or nothing; enum values are spelled in two
 * ways.
 */
function simplified(value: Json, key: string, numbers: readonly string[]): Json {
  if (Array.isArray(value)) return value.map((each) => simplified(each, key, numbers));
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value)
      .filter(([name]) => !/_at$|^id$|_id$|_until$|seconds$/.test(name))
      .map(([name, each]): [string, Json] => [name, simplified(each, name, numbers)])
      .filter(([, each]) => !isNothing(each));
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  if (typeof value !== "string") return value;
  if (key === "detail") return timeless(value);
  if (numbers.includes(value)) return `number ${numbers.indexOf(value)}`;
  return ENUMS[key] === undefined ? value : value.replace(ENUMS[key], "").toLowerCase();
}

const isNothing = (value: Json) =>
  value === null ||
  value === 0 ||
  value === false ||
  value === "" ||
  value === "unspecified" ||
  (Array.isArray(value) && value.length === 0);

/** How protobuf's own JSON begins the values of an enum, by the field that holds it. */
const ENUMS: Readonly<Record<string, RegExp>> = {
  rule: /^DECISION_RULE_/,
  tier: /^GEOMATCH_TIER_/,
  line_type: /^LINE_TYPE_/,
  state: /^NUMBER_STATE_/,
  status: /^MESSAGE_STATUS_/,
  direction: /^DIRECTION_/,
  type: /^MESSAGE_TYPE_/,
  reason: /^ERROR_REASON_/,
  unhealthy_reason: /^UNHEALTHY_REASON_/,
};

/** The expected outcomes of the scenario, for every client. */
const EXPECTED: Readonly<Record<string, string>> = {
  "register it again": "ALREADY_EXISTS",
  "send while the pool is off": "NO_USABLE_NUMBERS",
  preview: "number 1 by geomatch",
  send: "number 1 by geomatch",
  get: "number 1 by geomatch",
  "send again, to a recipient that sticks": "number 1 by sticky",
  "send from a number": "number 2 by from",
  "send from a number that is not ours": "INVALID_FROM",
  "send through an unknown profile": "NOT_FOUND",
  "get an unknown message": "NOT_FOUND",
  "send to nobody": "INVALID_TO",
  "send without to": "MISSING_PARAMETER",
  "send without text": "NO_CONTENT",
  "send far too much text": "MESSAGE_TOO_LARGE",
  "send abroad": "DESTINATION_NOT_ALLOWED",
  "send to a recipient that opted out": "OPTED_OUT",
  "send into a full queue": "QUEUE_FULL",
};

function expectAgreement(steps: readonly Step[]): void {
  expect(steps.map(({ name }) => name)).toEqual(reference.map(({ name }) => name));
  for (const [index, { name, outcome }] of steps.entries()) {
    expect({ [name]: settled(outcome) }).toEqual({ [name]: settled((reference[index] as Step).outcome) });
  }
}

/** A message proceeds after its acceptance: when it is read it may be sent or delivered. */
function settled(outcome: Json): Json {
  return JSON.parse(
    JSON.stringify(outcome).replaceAll(/"status":"(queued|sending|sent|delivered)"/g, '"status":"in progress"'),
  );
}

const missing = missingForPython();
const buf = executable("buf");
const curlPath = executable("curl");
const needs = (what: string | undefined) => (what === undefined ? "" : ` (needs ${what})`);

describe("the same scenario has the same outcome", () => {
  it("as expected, through grpc-js", () => {
    const found = Object.fromEntries(
      reference.flatMap(({ name, outcome }) => {
        if (EXPECTED[name] === undefined) return [];
        // biome-ignore lint/suspicious/noExplicitAny: one of two shapes.
        const { reason, data } = outcome as any;
        return [[name, reason ?? `${data.from.phone_number} by ${data.decision.rule}`]];
      }),
    );
    expect(found).toEqual(EXPECTED);
  });

  const clients: readonly (readonly [name: string, isThere: boolean, open: () => AgreeingClient])[] = [
    ["grpc-js, once more", true, () => grpcJs(server)],
    ["connect-node over gRPC", true, () => connectNode.grpc(server)],
    ["connect-node over Connect", true, () => connectNode.connect(server)],
    ["connect-node over gRPC-Web", true, () => connectNode.grpcWeb(server)],
    ["the telnyx package", true, () => telnyx(server)],
    [`curl${needs(curlPath ? undefined : "curl")}`, curlPath !== undefined, () => curl(server, curlPath as string)],
    [`buf curl${needs(buf ? undefined : "buf")}`, buf !== undefined, () => bufCurl(server, buf as string)],
    [
      `Python${needs(missing)}`,
      missing === undefined,
      () => {
        const sdk = join(folder.path, "sdk");
        generatePython(buildImage(folder.path), sdk);
        return pythonGrpc(server, python, join(import.meta.dirname, "client.py"), sdk);
      },
    ],
  ];

  for (const [name, isThere, open] of clients) {
    it.skipIf(!isThere)(`through ${name}`, { timeout: 120_000 }, async () => {
      const client = open();
      try {
        expectAgreement(await play(client));
      } finally {
        client.close();
      }
    });
  }
});
