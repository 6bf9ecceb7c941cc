/** Makes ids: UUIDs of version 7 that sort as strings in the order of their creation. */
export type Ids = (now: number) => string;

/**
 * An id generator on a source of random bytes. The 12 bits after the time count up within one
 * millisecond and when the clock steps back, so a process never makes an id that sorts before an
 * earlier one.
 */
export function createIds(random: (bytes: number) => Uint8Array): Ids {
  let time = 0;
  let count = 0;
  let pool: Uint8Array = new Uint8Array(0);
  let used = 0;
  return (now) => {
    if (now > time) {
      time = now;
      count = 0;
    } else {
      count += 1;
      if (count > 0xfff) {
        time += 1;
        count = 0;
      }
    }
    // Random bytes are drawn in bulk: one draw an id costs more than all else here.
    if (used + 8 > pool.length) {
      pool = random(8 * 512);
      used = 0;
    }
    let tail = "";
    for (let index = 0; index < 8; index += 1) {
      const byte = pool[used + index] as number;
      tail += HEX[index === 0 ? (byte & 0x3f) | 0x80 : byte];
      if (index === 1) tail += "-";
    }
    used += 8;
    const head = time.toString(16).padStart(12, "0");
    return `${head.slice(0, 8)}-${head.slice(8)}-7${count.toString(16).padStart(3, "0")}-${tail}`;
  };
}

/** The id in lower case if it is a UUID, else unchanged. */
export function canonicalId(id: string): string {
  return UPPER.test(id) && UUID.test(id) ? id.toLowerCase() : id;
}

const UPPER = /[A-F]/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** A string that sorts before every id made at `moment` or later, and after every earlier id. */
export function earliestId(moment: number): string {
  const head = Math.min(Math.max(0, Math.floor(moment)), MAX_TIME_MS)
    .toString(16)
    .padStart(12, "0");
  return `${head.slice(0, 8)}-${head.slice(8)}`;
}

/** The last moment that an id can hold, milliseconds since 1970. */
const MAX_TIME_MS = 2 ** 48 - 1;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
