// The way in. Every page works without this; with it, pages stay true by themselves.

import { start as create } from "./create.js";
import { start as live } from "./live.js";
import { start as logs } from "./logs.js";
import { start as rows } from "./rows.js";
import { start as small } from "./small.js";
import { start as stats } from "./stats.js";
import { start as upload } from "./upload.js";

for (const part of [small, live, logs, stats, rows, create, upload]) {
  try {
    part();
  } catch (error) {
    console.error(error);
  }
}
