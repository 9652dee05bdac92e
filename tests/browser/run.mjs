// Runs every journey against a release binary: node run.mjs BINARY [name part]
// Fails when a journey fails, when a gate is broken, and when no journey was run.
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { launch, Tour } from "./tour.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const [binary, only = ""] = process.argv.slice(2);
if (!binary || !existsSync(binary)) {
  console.error(`usage: node run.mjs BINARY [name part]; no binary at ${binary}`);
  process.exit(64);
}
mkdirSync(join(here, "out"), { recursive: true });
const files = readdirSync(join(here, "journeys")).filter((f) => f.endsWith(".mjs") && f.includes(only)).sort();
const browser = await launch();
const failed = [];
for (const file of files) {
  const began = performance.now();
  const tour = new Tour(browser, resolve(binary), file.replace(/\.mjs$/, ""));
  let problem = null;
  try {
    const journey = await import(pathToFileURL(join(here, "journeys", file)));
    await journey.default(tour);
    tour.assertQuiet();
  } catch (e) {
    problem = e;
    await tour.picture();
  } finally {
    await tour.end();
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${problem ? "FAILED" : "ok    "} ${tour.name} (${seconds} s)`);
  if (problem) {
    failed.push(tour.name);
    console.log(String(problem.stack ?? problem).replace(/^/gm, "       "));
    console.log(tour.serverLog().replace(/^/gm, "       | "));
  }
}
await browser.close();
console.log(`\n${files.length - failed.length} of ${files.length} journeys passed${failed.length ? `; failed: ${failed.join(", ")}` : ""}`);
process.exit(failed.length || !files.length ? 1 : 0);
