// What every page must hold: accessible in both themes and widths, and light.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// Budgets of a page in bytes over the wire, gzipped; 1 KB is 1000 bytes.
const HTML_MAX = 30_000;
const SCRIPT_MAX = 22_000;
const STYLE_MAX = 7_000;
const PAGE_MAX = 90_000;

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

export async function checkWeight(page, url, extra) {
  await page.goto(url, { waitUntil: "networkidle" });
  const loaded = await page.evaluate(() =>
    [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map((e) => [new URL(e.name).pathname, e.encodedBodySize]),
  );
  const bytes = { Document: 0, Script: 0, Stylesheet: 0, Font: 0, Other: 0 };
  const kinds = { js: "Script", css: "Stylesheet", woff2: "Font", svg: "Other" };
  for (const [path, size] of loaded) {
    const kind = path.startsWith("/a/") ? kinds[path.split(".").pop()] : "Document";
    bytes[kind] += size;
  }
  const path = new URL(url).pathname;
  const total = bytes.Document + bytes.Script + bytes.Stylesheet + bytes.Other;
  const told = `${path}: ${JSON.stringify(bytes)}, ${total} without fonts`;
  assert(bytes.Document > 0, `${told}: nothing was loaded`);
  assert(bytes.Document <= HTML_MAX + extra, `${told}: HTML over ${HTML_MAX + extra}`);
  assert(bytes.Script <= SCRIPT_MAX + extra, `${told}: scripts over ${SCRIPT_MAX + extra}`);
  assert(bytes.Stylesheet <= STYLE_MAX, `${told}: styles over ${STYLE_MAX}`);
  assert(total <= PAGE_MAX + extra, `${told}: over ${PAGE_MAX + extra}`);
}
