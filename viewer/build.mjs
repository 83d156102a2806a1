// Builds the script and the style of the page into the package. The first line of the script says what it was built from:
// a digest of the sources, which a test compares.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const assets = new URL("../models/lpdif/view/assets/", here);
const read = (name) => readFileSync(new URL(name, here), "utf8").replaceAll("\r\n", "\n");

const digest = createHash("sha256");
for (const name of ["build.mjs", "package.json", "package-lock.json", ...readdirSync(new URL("src/", here)).sort().map((file) => `src/${file}`)]) {
  digest.update(`${name}\n${read(name)}`);
}
const licence = read("node_modules/three/LICENSE").trim();

async function built(entry, banner) {
  const result = await build({
    entryPoints: [fileURLToPath(new URL(entry, here))],
    bundle: true,
    minify: true,
    format: "iife",
    target: ["es2022", "chrome108", "firefox113", "safari16.4"],
    charset: "ascii",
    legalComments: "none", // the licence of three.js is in the banner
    write: false,
  });
  return banner + result.outputFiles[0].text;
}

const banner = `/* Built by viewer/build.mjs. Sources: sha256 ${digest.digest("hex")}\n\nIt contains three.js, under this licence:\n\n${licence}\n*/\n`;
const script = await built("src/main.js", banner);
if (script.includes("</script")) throw new Error("the script would end its own element");
writeFileSync(new URL("viewer.min.js", assets), script);
writeFileSync(new URL("page.min.css", assets), await built("src/page.css", ""));
writeFileSync(new URL("LICENSE-three.txt", assets), `${licence}\n`);
