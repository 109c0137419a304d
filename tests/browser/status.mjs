// Looks at the status page in Chromium while the server works, and prints what was seen as one JSON
// object. usage: node status.mjs URL FOLDER_FOR_SCREENSHOTS
//
// On standard output, before the last line: "restart" when the server may be stopped, and "started"
// is awaited on standard input.
import process from "node:process";
import { createInterface } from "node:readline";
import { PATIENCE_MS, open, state, views, watched } from "./status_page.mjs";

const [url, folder] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** What somebody might have smuggled in. Runs in the page. */
async function smuggle() {
  const script = document.createElement("script");
  script.textContent = "window.foreign = true";
  const styles = document.createElement("style");
  styles.textContent = "body { background: rgb(1, 2, 3) !important }";
  document.body.append(script, styles);
  document.body.setAttribute("style", "color: rgb(1, 2, 3)");
  await new Promise((resume) => { setTimeout(resume, 100); });  // the reports are events
  const { color, backgroundColor } = getComputedStyle(document.body);
  return {
    script: window.foreign === true,
    styles: [color, backgroundColor].includes("rgb(1, 2, 3)"),
    violations: window.violations,
  };
}

await watched(async (page, seen) => {
  const until = (condition) => (
    page.waitForFunction(condition, undefined, { timeout: PATIENCE_MS }));
  await open(page, url);
  seen.begin = await page.evaluate(state);
  await page.waitForTimeout(4000);
  seen.later = await page.evaluate(state);
  seen.views = await views(page, folder, "status");
  await page.getByRole("button", { name: "Pause" }).click();
  await until(() => document.getElementById("state").textContent === "paused");
  const asked = seen.requests.length;
  await page.waitForTimeout(1300);
  seen.asked_while_paused = seen.requests.length - asked;
  await page.getByRole("button", { name: "Go on" }).click();
  await until(() => document.getElementById("state").textContent === "live");
  const spoken = seen.errors.length;
  seen.smuggled = await page.evaluate(smuggle);
  seen.refused = seen.errors.splice(spoken);
  process.stdout.write("restart\n");
  await until(() => document.getElementById("state").textContent === "not reached");
  seen.lost = await page.evaluate(state);
  process.stdout.write("lost\n");
  await lines.next();
  await until(() => document.getElementById("state").textContent === "live"
    && document.getElementById("notice").hidden);
  seen.again = await page.evaluate(state);
});
