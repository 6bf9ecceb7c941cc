import { storeContract } from "./contract.ts";
import { openFolder } from "./folder.ts";
storeContract("SQLite", async () => openFolder());
