// Looks at an HTML file in Chromium, as screens of several widths, both schemes and paper show it,
// and prints what was seen as one JSON object.
// usage: node page.mjs FILE FOLDER_FOR_SCREENSHOTS (playwright-core is looked for in web/)
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [file, folder] = process.argv.slice(2);
const require = createRequire(new URL("../../web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const PATIENCE_MS = 120000;
const VIEWS = [
  { name: "wide", width: 1200, scheme: "light", media: "screen" },
  { name: "dark", width: 1200, scheme: "dark", media: "screen" },
  { name: "narrow", width: 360, scheme: "light", media: "screen" },
  { name: "paper", width: 690, scheme: "light", media: "print" },
];

// Runs in the page.
function look() {
  const overlaps = [];
  const outside = [];
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((text) => {
      const box = text.getBoundingClientRect();
      return { text: text.firstChild?.data ?? "", box };
    });
    for (const [i, a] of texts.entries()) {
      if (a.box.left < frame.left - 1 || a.box.right > frame.right + 1
          || a.box.bottom > frame.bottom + 1) outside.push(a.text);
      for (const b of texts.slice(i + 1)) {
        const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        // The boxes of lines of text hold air above and below.
        if (wide > 1 && high > a.box.height * 0.4) overlaps.push([a.text, b.text]);
      }
    }
  }
  const back = document.querySelector("svg .pw-back");
  return {
    overlaps, outside,
    pictures: document.querySelectorAll("svg").length,
    sideways: document.documentElement.scrollWidth > window.innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    picture_background: back ? getComputedStyle(back).fill : null,
    json: JSON.parse(document.getElementById("report").textContent).schema_version,
  };
}

const seen = { requests: [], errors: [], views: {} };
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
  await page.goto(pathToFileURL(file).href);
  for (const view of VIEWS) {
    await page.setViewportSize({ width: view.width, height: 900 });
    await page.emulateMedia({ media: view.media, colorScheme: view.scheme });
    seen.views[view.name] = await page.evaluate(look);
    const name = `${path.basename(file, ".html")}-${view.name}.png`;
    await page.screenshot({ path: path.join(folder, name), fullPage: true });
  }
  await page.emulateMedia({ media: "print" });
  const paper = await page.pdf({ format: "A4" });
  seen.pages = paper.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(seen));
