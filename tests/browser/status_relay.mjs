// Looks at a relay's status page in Chromium, and prints what was seen as one JSON object.
// usage: node status_relay.mjs URL FOLDER_FOR_SCREENSHOTS
import process from "node:process";
import { PATIENCE_MS, open, state, views, watched } from "./status_page.mjs";

const [url, folder] = process.argv.slice(2);

await watched(async (page, seen) => {
  await open(page, url);
  await page.waitForFunction(() => document.getElementById("upstreams").textContent.includes("down"),
    undefined, { timeout: PATIENCE_MS });
  await page.waitForTimeout(3000);
  seen.later = await page.evaluate(state);
  seen.views = await views(page, folder, "status-relay");
});
