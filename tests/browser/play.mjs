// Plays a page in Chromium and prints what was seen as one JSON object.
// usage: node play.mjs URL SCREENSHOT PROFILE (playwright-core is looked for in web/)
import { createRequire } from "node:module";
import process from "node:process";

const [url, screenshot, profile] = process.argv.slice(2);
const require = createRequire(new URL("../../web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const PATIENCE_MS = 60000;
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--autoplay-policy=no-user-gesture-required", "--mute-audio", "--disable-dev-shm-usage",
];

const seen = { errors: [], failed: [], statuses: {}, requests: [] };

function watch(page) {
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.errors.push(message.text());
  });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("requestfailed", (request) => {
    // Switching the rendition makes hls.js give up what it was loading: that is no failure.
    const why = request.failure()?.errorText ?? "";
    if (why !== "net::ERR_ABORTED") seen.failed.push(`${request.url()}: ${why}`);
  });
  page.on("response", (response) => {
    seen.requests.push(new URL(response.url()).pathname);
    const status = response.status();
    seen.statuses[status] = (seen.statuses[status] ?? 0) + 1;
    if (status >= 400) seen.failed.push(`${response.url()}: ${status}`);
  });
}

function state() {
  const video = document.getElementById("video");
  const quality = video.getVideoPlaybackQuality();
  return {
    time_s: video.currentTime,
    frames: quality.totalVideoFrames,
    dropped: quality.droppedVideoFrames,
    width: video.videoWidth,
    height: video.videoHeight,
    ready: video.readyState,
    error: video.error?.message ?? null,
    renditions: [...document.querySelectorAll("#renditions button")].map((b) => b.textContent),
    pressed: document.querySelector('#renditions button[aria-pressed="true"]')?.textContent,
    rendition: document.getElementById("rendition").textContent,
    buffer: document.getElementById("buffer").textContent,
    notice: document.getElementById("notice").hidden,
    sideways: document.documentElement.scrollWidth > window.innerWidth,
  };
}

async function play(page) {
  await page.goto(url, { waitUntil: "load", timeout: PATIENCE_MS });
  const until = (condition, argument) =>
    page.waitForFunction(condition, argument, { timeout: PATIENCE_MS });
  await until(() => document.getElementById("video").currentTime > 1);
  seen.begin = await page.evaluate(state);
  await until((from) => document.getElementById("video").currentTime > from + 1,
    seen.begin.time_s);
  seen.end = await page.evaluate(state);
  // The other rendition, by hand: its pictures have to arrive, whichever played first.
  const wanted = seen.end.height === 720 ? 360 : 720;
  await page.getByRole("button", { name: `${wanted}p` }).click();
  await until((height) => document.getElementById("video").videoHeight === height, wanted);
  await until(() => document.getElementById("video").readyState >= 3);
  seen.switched = await page.evaluate(state);
  await page.waitForTimeout(600);
  await page.screenshot({ path: screenshot });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.waitForTimeout(200);
  seen.narrow = await page.evaluate(state);
  await page.screenshot({ path: screenshot.replace(/\.png$/, "-narrow.png") });
}

const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: FLAGS,
  viewport: { width: 1280, height: 860 },
  timeout: PATIENCE_MS,
});
try {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  watch(page);
  await play(page);
} catch (error) {
  seen.broken = String(error);
} finally {
  await context.close();
}
console.log(JSON.stringify(seen));
