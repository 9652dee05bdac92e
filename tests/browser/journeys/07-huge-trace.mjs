// Journey 7: a trace of 100,000 spans opens within the budget of ui.md section 2; scrolling to its
// end, folding all of it and finding text never hold the page up for longer than 200 ms.
import assert from "node:assert/strict";
import { pace, within } from "../pace.mjs";
import { hex } from "../server.mjs";

const SPANS = 100_000;
const SPANS_PER_REQUEST = 2_000;
const CHILDREN = 100;
const READY_MS = 1_500;
const TASK_MS = 200;
// Of the columns, compressed (ui.md section 2).
const COLUMNS_BYTES_MAX = 400_000;

export default async function hugeTrace(tour) {
  const server = await tour.server();
  const traceId = hex(16);
  for (let from = 0; from < SPANS; from += SPANS_PER_REQUEST) {
    const spans = Array.from({ length: SPANS_PER_REQUEST }, (_, n) => jobSpan(traceId, from + n));
    await server.sendSpans(`worker-${from % 7}`, spans);
  }
  const page = await tour.page();
  await page.goto(`${server.base}/trace/${traceId}`);
  await page.waitForFunction(() => document.querySelector(".trace").dataset.ready);
  const factor = await pace(page);
  const opened = [];
  for (let i = 0; i < 3; i++) {
    await page.goto(`${server.base}/trace/${traceId}`);
    await page.waitForFunction(() => document.querySelector(".trace").dataset.ready);
    opened.push(Number(await page.locator(".trace").getAttribute("data-ready")));
  }
  const figures = [within("interactive", opened.sort((a, b) => a - b)[1], READY_MS, factor)];
  assert.match(await page.locator(".t-facts").innerText(), /100\s000 spans/);
  const columns = await page.evaluate(() => performance.getEntriesByType("resource").find((e) => e.name.includes("/layout")).encodedBodySize);
  assert(columns > 0 && columns <= COLUMNS_BYTES_MAX, `${columns} bytes of columns`);

  // From here on nothing may hold the page up.
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
    }).observe({ type: "longtask" });
  });
  const grid = page.locator(".wf");
  await grid.focus();
  await page.keyboard.press("H");
  assert.equal(await grid.getAttribute("aria-rowcount"), "1", "everything is folded under the root");
  // Level by level everything opens: the root, its jobs, their groups.
  for (let i = 0; i < 4; i++) await page.keyboard.press("L");
  assert.equal(await grid.getAttribute("aria-rowcount"), String(await lines(page)));
  await page.keyboard.press("End");
  const last = page.locator(".r[aria-selected=true]:not([hidden])");
  await last.waitFor();
  assert.equal(await last.getAttribute("aria-rowindex"), await grid.getAttribute("aria-rowcount"));
  await grid.evaluate(async (el) => {
    const frame = () => new Promise(requestAnimationFrame);
    for (let part = 10; part >= 0; part--) {
      el.scrollTop = (el.scrollHeight * part) / 10;
      await frame();
    }
  });
  assert.equal(await page.locator(".r[aria-rowindex='1']:not([hidden])").count(), 1, "scrolled back to the start");
  await page.locator(".t-find form input").fill("name:\"needle in the hay\"");
  await page.locator(".t-find output", { hasText: /^1$/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.locator(".r[aria-selected=true]:not([hidden])").getByText("needle in the hay").waitFor();
  await page.locator(".t-drawer .s").getByText("needle in the hay").first().waitFor();
  const longest = await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(window.longest), 0))));
  figures.push(within("longest task", longest, TASK_MS, factor));
  assert((await page.locator(".r").count()) <= 100, "few rows are in the document");
  console.log(`     100,000 spans at pace ${factor.toFixed(2)}: ${figures.join(", ")}, columns ${Math.round(columns / 1000)} KB`);
}

/** Lines of the whole tree: every span, and a line over each group and each run left out at first. */
const lines = (page) => page.evaluate(async () => {
  const columns = await (await fetch(document.querySelector("link[as=fetch]").href)).json();
  const leftOut = document.querySelector(".wf").dataset.bundles.split(".").filter(Boolean);
  return columns.rows.depth.length + columns.groups.length + leftOut.length;
});

/** A root with jobs of a hundred spans each; ids are the numbers, so that parents need no list. */
function jobSpan(traceId, n) {
  const id = (of) => (of + 1).toString(16).padStart(16, "0");
  const job = Math.floor((n - 1) / CHILDREN), step = (n - 1) % CHILDREN;
  const start = 1_000_000_000n * BigInt(Math.floor(Date.now() / 3_600_000) * 3_600 - 3_600);
  const at = (us) => String(start + BigInt(Math.round(us * 1_000)));
  const [from, to] = n === 0 ? [0, SPANS] : step === 0 ? [job * CHILDREN, (job + 1) * CHILDREN - 1] : [n - 1, n - 0.1];
  const name = n === 0 ? "reindex" : n === 77_777 ? "needle in the hay" : step === 0 ? `job ${job}` : `step ${step % 9}`;
  return {
    traceId, spanId: id(n), parentSpanId: n === 0 ? "" : step === 0 ? id(0) : id(1 + job * CHILDREN),
    name, kind: 1, startTimeUnixNano: at(from), endTimeUnixNano: at(to),
  };
}
