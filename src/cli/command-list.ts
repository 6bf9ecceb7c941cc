import type { Command } from "./command.ts";
import { backup } from "./commands/backup.ts";
import { check } from "./commands/check.ts";
import { deliveryResume } from "./commands/delivery-resume.ts";
import { keyCreate } from "./commands/key-create.ts";
import { keyList } from "./commands/key-list.ts";
import { keyRevoke } from "./commands/key-revoke.ts";
import { message } from "./commands/message.ts";
import { migrate } from "./commands/migrate.ts";
import { numberImport } from "./commands/number-import.ts";
import { numberResetHealth } from "./commands/number-reset-health.ts";
import { serve } from "./commands/serve.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  serve,
  keyCreate,
  keyList,
  keyRevoke,
  numberImport,
  numberResetHealth,
  message,
  backup,
  deliveryResume,
  migrate,
  check,
];
