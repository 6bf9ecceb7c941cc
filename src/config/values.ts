import { z } from "zod";

/** An address to listen on. Port 0 means any free port. */
export type Address = { readonly host: string; readonly port: number };

/** A value `host:port`; the host of an IPv6 address stands in brackets. */
export const address = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5}$/, "must be host:port")
  .transform((text, context): Address => {
    const at = text.lastIndexOf(":");
    const port = Number(text.slice(at + 1));
    if (port > 65_535) context.addIssue({ code: "custom", message: "has a port above 65535" });
    return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port };
  });

/** Whether only this machine can reach the address. */
export function isLoopback({ host }: Address): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** A boolean, or its spelling in flags and the environment. */
export const boolean = z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]);

/** The path of a file. */
export const path = z.string().min(1, "must not be empty");

/** A number within bounds, or its spelling in flags and the environment. */
export const number = (min: number, max: number) => spelledNumber.pipe(z.number().min(min).max(max));

/** An integer within bounds, or its spelling in flags and the environment. */
export const integer = (min: number, max: number) => spelledNumber.pipe(z.number().min(min).max(max).int());

// An empty string is not a number, although Number("") is 0.
const spelledNumber = z.union(
  [z.number(), z.string().trim().min(1).transform(Number).pipe(z.number())],
  "must be a number",
);
