// Looks at the status page in Chromium while the server works, and prints what was seen as one JSON
// object. usage: node status.mjs URL FOLDER_FOR_SCREENSHOTS (playwright-core is looked for in web/)
//
// On standard output, before the last line: "restart" when the server may be stopped, and "started"
// is awaited on standard input.
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

const [url, folder] = process.argv.slice(2);
const require = createRequire(new URL("../../web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const PATIENCE_MS = 30000;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const seen = { errors: [], requests: [], views: {} };

// Runs in the page.
function state() {
  const text = (id) => document.getElementById(id).textContent;
  const figure = (id) => Number(text(id).replaceAll(",", "").replace("%", ""));
  const ink = (canvas) => {
    const copy = Object.assign(document.createElement("canvas"),
      { width: canvas.width, height: canvas.height }).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    let some = 0;
    for (let i = 3; i < data.length; i += 4) some += data[i] > 0 ? 1 : 0;
    return some;
  };
  const narrow = [...document.querySelectorAll("main *")].filter((element) => (
    element.getBoundingClientRect().right > window.innerWidth + 1
      && !element.closest(".scroll"))).map((element) => element.tagName + element.id);
  return {
    state: text("state"), notice: text("notice"), about: text("about"),
    gbit: figure("gbit"), requests: figure("requests"), connections: figure("connections"),
    cpu: figure("cpu"), per_gbit: figure("per-gbit"), p99: figure("p99"),
    paths: text("paths"), workers: document.querySelectorAll("#workers tbody tr").length,
    health: text("health"), doctor: text("doctor"),
    charts: [...document.querySelectorAll("canvas")].map(ink),
    background: getComputedStyle(document.body).backgroundColor,
    sideways: document.documentElement.scrollWidth > window.innerWidth, narrow,
  };
}

async function look(page) {
  const until = (condition, argument) =>
    page.waitForFunction(condition, argument, { timeout: PATIENCE_MS });
  await page.goto(url);
  await until(() => document.getElementById("state").textContent === "live"
    && document.getElementById("gbit").textContent !== "–");
  seen.begin = await page.evaluate(state);
  await page.waitForTimeout(4000);
  seen.later = await page.evaluate(state);
  for (const [name, width, height, colorScheme] of [
    ["wide", 1280, 900, "light"], ["dark", 1280, 900, "dark"],
    ["phone", 390, 844, "light"], ["phone-dark", 390, 844, "dark"], ["small", 320, 600, "light"]]) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    await page.waitForTimeout(150);
    seen.views[name] = await page.evaluate(state);
    await page.screenshot({ path: path.join(folder, `status-${name}.png`), fullPage: true });
  }
  await page.getByRole("button", { name: "Pause" }).click();
  await until(() => document.getElementById("state").textContent === "paused");
  const asked = seen.requests.length;
  await page.waitForTimeout(1300);
  seen.asked_while_paused = seen.requests.length - asked;
  await page.getByRole("button", { name: "Go on" }).click();
  await until(() => document.getElementById("state").textContent === "live");
  seen.script_by_others = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.foreign = true";
    document.body.append(script);
    return window.foreign === true;
  });
  seen.refused = seen.errors.splice(0);
  process.stdout.write("restart\n");
  await until(() => document.getElementById("state").textContent === "not reached");
  seen.lost = await page.evaluate(state);
  process.stdout.write("lost\n");
  await lines.next();
  await until(() => document.getElementById("state").textContent === "live"
    && document.getElementById("notice").hidden);
  seen.again = await page.evaluate(state);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  page.on("request", (request) => seen.requests.push(request.url().slice(0, 80)));
  page.on("console", (message) => seen.errors.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  await look(page);
} catch (error) {
  seen.broken = String(error);
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify(seen)}\n`);
process.exit(0);
