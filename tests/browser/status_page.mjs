// What the looks at the status page share: Chromium with everything noted that the page should not
// do, and what stands in the page. (playwright-core is looked for in web/)
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

const require = createRequire(new URL("../../web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

export const PATIENCE_MS = 60000;
const LOOKS_MS = 30000;

export const VIEWS = [
  ["wide", 1280, 900, "light"], ["dark", 1280, 900, "dark"], ["phone", 400, 844, "light"],
  ["phone-dark", 390, 844, "dark"], ["small", 320, 600, "light"]];

/** Runs in the page. */
export function state() {
  const text = (id) => document.getElementById(id).textContent;
  const shown = (element) => element.getClientRects().length > 0;
  const figure = (id) => Number(text(id).replaceAll(/[,%<]/g, ""));
  const pixels = (canvas) => {
    const copy = Object.assign(document.createElement("canvas"),
      { width: canvas.width, height: canvas.height }).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, canvas.width, canvas.height).data;
  };
  const ink = (canvas) => {
    const data = pixels(canvas);
    let some = 0;
    for (let i = 3; i < data.length; i += 4) some += data[i] > 0 ? 1 : 0;
    return some;
  };
  // Of the heat map: how many pixels have its colour, and in how many strengths.
  const heat = (canvas) => {
    const wanted = getComputedStyle(document.documentElement).getPropertyValue("--heat").trim()
      .match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16));
    const data = pixels(canvas);
    const strengths = new Map();
    for (let i = 0; i < data.length; i += 4) {
      const near = wanted.every((value, c) => Math.abs(data[i + c] - value) < 12);
      if (data[i + 3] > 10 && near) {
        strengths.set(data[i + 3], (strengths.get(data[i + 3]) ?? 0) + 1);
      }
    }
    const many = [...strengths.values()].filter((count) => count > 20);
    return { pixels: many.reduce((sum, count) => sum + count, 0), strengths: many.length };
  };
  const wide = [...document.querySelectorAll("main *")].filter((element) => (
    element.getBoundingClientRect().right > window.innerWidth + 1
      || (element.matches(".scroll") && element.scrollWidth > element.clientWidth)))
    .map((element) => `${element.tagName} ${element.textContent.slice(0, 40)}`);
  const table = (id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => (
    [...row.querySelectorAll("td")].filter(shown).map((cell) => cell.textContent)));
  const canvases = [...document.querySelectorAll("canvas")].filter(shown);
  const time = document.querySelector("#chart-time canvas");
  return {
    state: text("state"), notice: text("notice"), about: text("about"),
    titles: [...document.querySelectorAll("h2, dt")].filter(shown).map((one) => one.textContent),
    gbit: figure("gbit"), requests: figure("requests"), connections: figure("connections"),
    cpu: figure("cpu"), per_gbit: figure("per-gbit"), p99: figure("p99"),
    up: figure("up"), down: figure("down"), tunnels: figure("tunnels"),
    paths: text("paths"), workers: table("workers"), routes: table("routes"),
    upstreams: table("upstreams"), ends: text("ends"), health: text("health"),
    doctor: document.getElementById("doctor").innerText,
    charts: canvases.map(ink), heat: shown(time) ? heat(time) : null,
    background: getComputedStyle(document.body).backgroundColor,
    sideways: document.documentElement.scrollWidth > window.innerWidth, wide,
    violations: window.violations,
  };
}

/** The first look at which what is seen holds, else the last one of LOOKS_MS: the tests judge it. The
 *  load, the page and the server may have had no CPU for a while, as others had it. */
export async function look(page, holds) {
  const end = Date.now() + LOOKS_MS;
  while (true) {
    const seen = await page.evaluate(state);
    if (holds(seen) || Date.now() > end) return seen;
    await page.waitForTimeout(100);
  }
}

/** Until the first figures are there. */
export async function open(page, url) {
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("state").textContent === "live"
    && document.getElementById("gbit").textContent !== "–", undefined, { timeout: PATIENCE_MS });
}

/** As screens of several widths and both schemes show it; with screenshots. */
export async function views(page, folder, name) {
  const seen = {};
  for (const [view, width, height, colorScheme] of VIEWS) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    await page.waitForTimeout(150);
    seen[view] = await look(page, ({ sideways, wide, heat }) => (
      !sideways && wide.length === 0 && (heat === null || heat.pixels > 0)));
    await page.screenshot({ path: path.join(folder, `${name}-${view}.png`), fullPage: true });
  }
  return seen;
}

/** Calls `watch(page, seen)`, and prints `seen` as one line of JSON. */
export async function watched(watch) {
  const seen = { errors: [], requests: [] };
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"],
    timeout: PATIENCE_MS,
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("request", (request) => seen.requests.push(request.url().slice(0, 80)));
    page.on("console", (message) => seen.errors.push(message.text()));
    page.on("pageerror", (error) => seen.errors.push(String(error)));
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
        window.violations.push(`${effectiveDirective} ${blockedURI}`);
      });
    });
    await watch(page, seen);
  } catch (error) {
    seen.broken = String(error);
  } finally {
    await browser.close();
  }
  process.stdout.write(`${JSON.stringify(seen)}\n`);
  process.exit(0);
}
