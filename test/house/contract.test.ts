import { getOption, hasOption } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { scope } from "../../gen/numberpool/v1/call_options_pb.ts";
import { file_numberpool_v1_decision } from "../../gen/numberpool/v1/decision_pb.ts";
import { error, spelling } from "../../gen/numberpool/v1/enum_options_pb.ts";
import { ErrorReasonSchema } from "../../gen/numberpool/v1/error_reason_pb.ts";
import { file_numberpool_v1_message_event } from "../../gen/numberpool/v1/message_event_pb.ts";
import { file_numberpool_v1_message } from "../../gen/numberpool/v1/message_pb.ts";
import { file_numberpool_v1_number_service } from "../../gen/numberpool/v1/number_service_pb.ts";
import { file_numberpool_v1_phone_number } from "../../gen/numberpool/v1/phone_number_pb.ts";
import { file_numberpool_v1_webhook_delivery } from "../../gen/numberpool/v1/webhook_delivery_pb.ts";
import type { ServiceParts } from "../../src/service/parts.ts";
import { createServices } from "../../src/service/services.ts";
import { routesOf } from "../../src/transport/json/routes.ts";

const services = createServices({} as ServiceParts).map(({ service }) => service);
const methods = services.flatMap((service) => service.methods.map((desc) => ({ service, desc })));

describe("the contract is complete", () => {
  it.each(ErrorReasonSchema.values.filter((value) => value.number !== 0).map((value) => [value.name, value] as const))(
    "%s has its outside form",
    (_name, value) => {
      expect(hasOption(value, error)).toBe(true);
      const form = getOption(value, error);
      expect(form.code).toMatch(/^\d{5}$/);
      expect(form.title).not.toBe("");
      expect(form.rpcCode).toBeGreaterThan(0);
      expect(form.httpStatus === 0 || (form.httpStatus >= 400 && form.httpStatus < 600)).toBe(true);
    },
  );

  it.each(methods.map(({ service, desc }) => [`${service.typeName}.${desc.name}`, desc] as const))(
    "%s has a scope",
    (_name, desc) => {
      expect(getOption(desc, scope)).toBeGreaterThan(0);
    },
  );

  it("spells every enum value of an answer", () => {
    const files = [
      file_numberpool_v1_decision,
      file_numberpool_v1_message,
      file_numberpool_v1_message_event,
      file_numberpool_v1_number_service,
      file_numberpool_v1_phone_number,
      file_numberpool_v1_webhook_delivery,
    ];
    const silent = files
      .flatMap((file) => file.enums)
      .flatMap((desc) => desc.values)
      .filter((value) => value.number !== 0 && !hasOption(value, spelling));
    expect(silent.map((value) => value.name)).toEqual([]);
  });

  it("gives every unary method a JSON route, and none to streams", () => {
    const parts = methods.map(({ service, desc }) => ({ desc, service, path: "", maxBytes: 0 }));
    const routes = routesOf(parts);
    expect([...new Set(routes.map(({ method }) => method.desc.name))].sort()).toEqual(
      methods
        .filter(({ desc }) => desc.methodKind === "unary")
        .map(({ desc }) => desc.name)
        .sort(),
    );
  });
});
