// The way in. Every page works without this; with it, pages stay true by themselves.

import { start as live } from "./live.js";
import { start as logs } from "./logs.js";
import { start as small } from "./small.js";
import { start as stats } from "./stats.js";

for (const part of [small, live, logs, stats]) {
  try {
    part();
  } catch (error) {
    console.error(error);
  }
}
