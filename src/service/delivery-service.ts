import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type * as pb from "../../gen/numberpool/v1/delivery_pb.ts";
import { DeliverySchema, DeliveryState } from "../../gen/numberpool/v1/delivery_pb.ts";
import type { DeliveryService } from "../../gen/numberpool/v1/delivery_service_pb.ts";
import type { Methods } from "./call.ts";
import type { ServiceParts } from "./parts.ts";

/** The methods of DeliveryService. */
export function deliveryService({ engine }: ServiceParts): Methods<typeof DeliveryService> {
  return {
    getDelivery: async () => ({ data: toProtoDelivery(engine.delivery.heldSince()) }),

    resumeDelivery: async () => {
      await engine.delivery.resume();
      return { data: toProtoDelivery(engine.delivery.heldSince()) };
    },
  };
}

function toProtoDelivery(heldSince: number | undefined): pb.Delivery {
  return create(DeliverySchema, {
    recordType: "delivery",
    state: heldSince === undefined ? DeliveryState.ACTIVE : DeliveryState.HELD,
    ...(heldSince !== undefined && { heldSince: timestampFromMs(heldSince) }),
  });
}
