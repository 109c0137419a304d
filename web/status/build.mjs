// Makes the status page one file: the script with all that it imports, the styles, the icon.
// usage: node build.mjs PAGE POLICY
//
// POLICY is what the answer's Content-Security-Policy says of it: what is in the page, by its hash,
// and no other script or style; and that it may read from where it came.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const folder = path.dirname(fileURLToPath(import.meta.url));

async function bundle(entry) {
  const { outputFiles: [file] } = await build({
    stdin: { contents: entry, resolveDir: folder, loader: entry.startsWith("@") ? "css" : "js" },
    bundle: true, minify: true, format: "iife", target: "es2022", legalComments: "none",
    write: false, logLevel: "warning",
  });
  return file.text.trim();
}

const source = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = await bundle('import "./status.js";');
const styles = await bundle('@import "uplot/dist/uPlot.min.css"; @import "./status.css";');
if (/<\/script/i.test(script)) throw new Error("the script would end its own element");

const page = (await readFile(path.join(folder, "index.html"), "utf8"))
  .replace(/<!-- the styles .*-->/, () => `<style>${styles}</style>`)
  .replace(/<!-- the script .*-->/, () => `<script>${script}</script>`);
for (const part of [`<style>${styles}</style>`, `<script>${script}</script>`]) {
  if (!page.includes(part)) throw new Error("index.html has no place for it");
}
const policy = `script-src ${source(script)}; style-src ${source(styles)}; img-src data:; `
  + "connect-src 'self'";
const [, , pageFile, policyFile] = process.argv;
await writeFile(pageFile, page);
await writeFile(policyFile, policy);
