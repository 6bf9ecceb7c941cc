import type { DescService } from "@bufbuild/protobuf";
import { CarrierReportService } from "../../gen/numberpool/v1/carrier_report_service_pb.ts";
import { DeliveryService } from "../../gen/numberpool/v1/delivery_service_pb.ts";
import { NumberService } from "../../gen/numberpool/v1/number_service_pb.ts";
import { OptOutService } from "../../gen/numberpool/v1/opt_out_service_pb.ts";
import { PoolSendService } from "../../gen/numberpool/v1/pool_send_service_pb.ts";
import { ProfileService } from "../../gen/numberpool/v1/profile_service_pb.ts";
import { StickyMappingService } from "../../gen/numberpool/v1/sticky_mapping_service_pb.ts";
import { WebhookDeliveryService } from "../../gen/numberpool/v1/webhook_delivery_service_pb.ts";
import type { Methods } from "./call.ts";
import { carrierReportService } from "./carrier-report-service.ts";
import { deliveryService } from "./delivery-service.ts";
import { numberService } from "./number-service.ts";
import { optOutService } from "./opt-out-service.ts";
import type { ServiceParts } from "./parts.ts";
import { poolSendService } from "./pool-send-service.ts";
import { profileService } from "./profile-service.ts";
import { stickyMappingService } from "./sticky-mapping-service.ts";

/** A service of the contract with the methods that this release implements. */
export type Service<Desc extends DescService = DescService> = {
  readonly service: Desc;
  readonly methods: Methods<Desc>;
};

/** Every service of the contract. A method without an implementation returns NOT_IMPLEMENTED. */
export function createServices(parts: ServiceParts): Service[] {
  const bind = <Desc extends DescService>(service: Desc, methods: Methods<Desc>): Service =>
    ({ service, methods }) as unknown as Service;
  return [
    bind(ProfileService, profileService(parts)),
    bind(PoolSendService, poolSendService(parts)),
    bind(NumberService, numberService(parts)),
    bind(StickyMappingService, stickyMappingService(parts)),
    bind(OptOutService, optOutService(parts)),
    bind(WebhookDeliveryService, {}),
    bind(DeliveryService, deliveryService(parts)),
    bind(CarrierReportService, carrierReportService(parts)),
  ];
}
