import { create } from "@bufbuild/protobuf";
import { type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";

const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/**
 * An RFC 3339 time, to the nanosecond; undefined for a date, time or offset that does not exist.
 */
export function timestampOf(text: string): Timestamp | undefined {
  const found = RFC_3339.exec(text);
  if (found === null) return undefined;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number) as [
    ...[number, number, number],
    ...[number, number, number],
  ];
  const [, , , , , , , fraction = "", sign = "+", offsetHour = "0", offsetMinute = "0"] = found;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const isDate = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  const isTime = hour < 24 && minute < 60 && second < 60;
  const isOffset = Number(offsetHour) < 24 && Number(offsetMinute) < 60;
  if (!isDate || !isTime || !isOffset) return undefined;
  const offset = (sign === "+" ? 1 : -1) * (Number(offsetHour) * 60 + Number(offsetMinute));
  const seconds = date.getTime() / 1000 + (hour * 60 + minute - offset) * 60 + second;
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: Number(fraction.padEnd(9, "0")) });
}
