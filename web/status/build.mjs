// Makes the status page one file: the script with all that it imports, the styles, the icon.
// usage: node build.mjs OUTPUT
//
// Its policy (CSP) names the script by its hash, so that no other one would run; the server's
// header adds what only a header may say (server/status_page.h).
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

const script = await bundle('import "./status.js";');
const styles = await bundle('@import "uplot/dist/uPlot.min.css"; @import "./status.css";');
if (/<\/script/i.test(script)) throw new Error("the script would end its own element");
const hash = createHash("sha256").update(script).digest("base64");
const policy = `script-src 'sha256-${hash}'`;

const page = (await readFile(path.join(folder, "index.html"), "utf8"))
  .replace(/<!-- styles .*-->/, () => (
    `<meta http-equiv="Content-Security-Policy" content="${policy}">\n<style>${styles}</style>`))
  .replace(/<!-- the script .*-->/, () => `<script>${script}</script>`);
if (!page.includes(hash) || !page.includes(script)) throw new Error("index.html has no place");
await writeFile(process.argv[2], page);
