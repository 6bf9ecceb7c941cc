const FORM = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** The milliseconds of a `grpc-timeout`; undefined when it is malformed. */
export function grpcTimeoutMs(header: string): number | undefined {
  const [, digits, unit] = FORM.exec(header) ?? [];
  return unit === undefined ? undefined : Number(digits) * (UNIT_MS[unit] as number);
}
