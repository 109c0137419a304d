// Looks at a relay's status page in Chromium, and prints what was seen as one JSON object.
// usage: node status_relay.mjs URL FOLDER_FOR_SCREENSHOTS
import process from "node:process";
import { PATIENCE_MS, look, open, views, watched } from "./status_page.mjs";

const [url, folder] = process.argv.slice(2);

await watched(async (page, seen) => {
  await open(page, url);
  await page.waitForFunction(() => document.getElementById("upstreams").textContent.includes("down"),
    undefined, { timeout: PATIENCE_MS });
  await page.waitForTimeout(3000);
  seen.later = await look(page, (later) => (
    ["gbit", "down", "requests", "cpu", "per_gbit"].every((figure) => later[figure] > 0)
      && later.paths.includes("bulk") && later.up < later.down));
  seen.views = await views(page, folder, "status-relay");
});
