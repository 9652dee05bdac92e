// What every page must hold: accessible in both themes and widths, and light.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { get } from "node:http";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// Budgets of ui.md section 2 in bytes over the wire, gzipped; 1 KB is 1000 bytes.
const PAGE = { html: 30_000, script: 22_000, style: 7_000, total: 90_000, payload: 0 };
/** The trace page: its script, more HTML, and the columns, whose size the journey knows. */
export const TRACE = (payload) => ({ html: 60_000, script: 30_000, style: 7_000, total: 105_000, payload });

/** The page of charts: uPlot, its own scripts, and the points of the lines. */
export const CHARTS = { html: 30_000, script: 52_000, style: 7_000, total: 105_000, payload: 60_000 };

export async function checkAccessible(page) {
  const before = page.viewportSize();
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 800 });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const at = `${new URL(page.url()).pathname} ${colorScheme} at ${width} px`;
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(overflow <= 0, `${at}: scrolls sideways by ${overflow} px`);
      const found = await violations(page);
      assert.deepEqual(found, [], `${at}: axe found serious problems`);
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  await page.setViewportSize(before);
}

// The protocol evaluates outside the page's policy, so axe needs no exception in the CSP.
async function violations(page) {
  await page.evaluate(axe);
  const results = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const serious = results.violations.filter((v) => ["serious", "critical"].includes(v.impact));
  return serious.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary.split("\n").slice(1).join(" ")}`).join(" | ")}`);
}

/** Loads `url`, asks again for all that it loaded as gzip, and counts what travels. */
export async function checkWeight(page, url, budget = PAGE) {
  await page.goto(url, { waitUntil: "networkidle" });
  const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map((e) => e.name));
  const bytes = { html: 0, script: 0, style: 0, font: 0, other: 0, payload: 0 };
  const kinds = { js: "script", css: "style", woff2: "font", svg: "other" };
  for (const address of new Set([url, ...loaded])) {
    const { pathname } = new URL(address);
    const kind = pathname.startsWith("/a/") ? kinds[pathname.split(".").pop()] : pathname.startsWith("/api/") ? "payload" : "html";
    bytes[kind] += await gzipped(address);
  }
  const total = bytes.html + bytes.script + bytes.style + bytes.other;
  const told = `${new URL(url).pathname}: ${JSON.stringify(bytes)}, ${total} without fonts and columns`;
  assert(bytes.html > 0 && bytes.style > 0 && bytes.script > 0, `${told}: not all was loaded`);
  for (const [kind, most] of Object.entries(budget)) {
    const weighed = kind === "total" ? total : bytes[kind];
    assert(weighed <= most, `${told}: ${kind} over ${most}`);
  }
}

/** Bytes of an answer's body as gzip; fetch would only tell what it inflated. */
const gzipped = (address) => new Promise((done, failed) => {
  get(address, { headers: { "accept-encoding": "gzip" } }, (answer) => {
    if (answer.statusCode !== 200) failed(new Error(`${address}: ${answer.statusCode}`));
    let size = 0;
    answer.on("data", (part) => (size += part.length)).on("end", () => done(size)).on("error", failed);
  }).on("error", failed);
});
