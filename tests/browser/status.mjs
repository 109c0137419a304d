// Looks at the status page in Chromium while the server works, and prints what was seen as one JSON
// object. usage: node status.mjs URL FOLDER_FOR_SCREENSHOTS
//
// On standard output, before the last line: "restart" when the server may be stopped, and "started"
// is awaited on standard input.
import process from "node:process";
import { createInterface } from "node:readline";
import { PATIENCE_MS, look, open, state, views, watched } from "./status_page.mjs";

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
  for (let i = 0; i < 100 && window.violations.length < 3; ++i) {  // the reports are events
    await new Promise((resume) => { setTimeout(resume, 100); });
  }
  const { color, backgroundColor } = getComputedStyle(document.body);
  return {
    script: window.foreign === true,
    styles: [color, backgroundColor].includes("rgb(1, 2, 3)"),
    violations: window.violations,
  };
}

/** There is a load, all of whose figures are there. */
const works = (seen) => (
  ["gbit", "requests", "cpu", "per_gbit", "p99"].every((figure) => seen[figure] > 0)
    && seen.paths.includes("large-body 100%") && seen.heat?.pixels > 0);

/** Pauses the page while it waits for an answer, which comes when it is paused. */
async function pause(page, until) {
  let asks;
  let answer;
  const asked = new Promise((resume) => { asks = resume; });
  const answered = new Promise((resume) => { answer = resume; });
  await page.route("**/metrics", async (route) => {
    asks();
    await answered;
    await route.continue().catch(() => {});  // given up, for the page has waited too long
  });
  await asked;
  await page.getByRole("button", { name: "Pause" }).click();
  await until(() => document.getElementById("state").textContent === "paused");
  answer();
  await page.unroute("**/metrics");
}

await watched(async (page, seen) => {
  const until = (condition) => (
    page.waitForFunction(condition, undefined, { timeout: PATIENCE_MS }));
  await open(page, url);
  const begin = await look(page, works);
  await page.waitForTimeout(4000);
  seen.begin = begin;
  seen.later = await look(page, (later) => works(later)
    && ["gbit", "requests", "p99"].some((figure) => later[figure] !== begin[figure])
    && later.charts[0] > begin.charts[0] && later.heat.pixels > begin.heat.pixels
    && later.heat.strengths > 1);
  seen.views = await views(page, folder, "status");
  await pause(page, until);
  const asked = seen.requests.length;
  await page.waitForTimeout(1300);
  seen.asked_while_paused = seen.requests.length - asked;
  seen.state_while_paused = await page.textContent("#state");
  await page.getByRole("button", { name: "Go on" }).click();
  await until(() => document.getElementById("state").textContent === "live");
  const spoken = seen.errors.length;
  seen.smuggled = await page.evaluate(smuggle);
  await look(page, () => seen.errors.length >= spoken + 3);  // the console comes by and by
  seen.refused = seen.errors.splice(spoken);
  process.stdout.write("restart\n");
  await look(page, (now) => {
    if (now.notice !== "") return true;
    seen.before = now;  // the last it showed while it was not lost
    return false;
  });
  await until(() => document.getElementById("state").textContent === "not reached");
  seen.lost = await page.evaluate(state);
  process.stdout.write("lost\n");
  await lines.next();
  await until(() => document.getElementById("state").textContent === "live"
    && document.getElementById("notice").hidden);
  seen.again = await page.evaluate(state);
});
