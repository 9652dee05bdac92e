// Journey 6: a trace of 10,000 spans opens at its first error within the budget of ui.md section 2,
// folds and finds at once, and shows the logs of a span.
import assert from "node:assert/strict";
import { TRACE } from "../gates.mjs";
import { pace, within } from "../pace.mjs";
import { hex } from "../server.mjs";

const SPANS = 10_000;
const SPANS_PER_REQUEST = 2_500;
// Budgets of ui.md section 2, on an idle machine; pace.mjs says what a busy one gets.
const READY_MS = 500;
const FOLD_MS = 30;
const FIND_MS = 10;
// The columns of this trace, compressed.
const LAYOUT_BYTES = 80_000;

export default async function largeTrace(tour) {
  const server = await tour.server();
  const traceId = hex(16);
  const spans = batchTrace(traceId);
  for (let at = 0; at < SPANS; at += SPANS_PER_REQUEST) await server.sendSpans("batch", spans.slice(at, at + SPANS_PER_REQUEST));
  const failed = spans.filter((span) => span.status);
  await server.sendLogs("batch", [
    { body: "row rejected", severityNumber: 17, severityText: "ERROR", traceId, spanId: failed[0].spanId },
    { body: "of another span", traceId, spanId: spans[0].spanId },
  ]);
  const page = await tour.page();
  await page.goto(`${server.base}/trace/${traceId}`);
  await readyAt(page);
  // The first visit fetched fonts and scripts; a page is opened many times.
  const factor = await pace(page);
  const opened = [];
  for (let i = 0; i < 3; i++) {
    await page.goto(`${server.base}/trace/${traceId}`);
    opened.push(await readyAt(page));
  }
  const figures = [within("interactive", median(opened), READY_MS, factor)];
  assert.match(await page.locator(".t-facts").innerText(), /10\s000 spans/);

  // The first error is selected, and its logs, and only its logs, are beside it.
  const selected = page.locator(".r[aria-selected=true]");
  await selected.getByText("import row").waitFor();
  assert.equal(await page.locator(".t-drawer .s-log").count(), 1);
  await page.locator(".t-drawer").getByText("row rejected").waitFor();
  await page.getByRole("link", { name: "whole trace, 2" }).waitFor();

  // n goes round all errors; N goes back.
  const drawn = () => page.locator(".t-drawer .s").getAttribute("data-span");
  const seen = [];
  await page.locator(".wf").focus();
  for (let i = 0; i < failed.length; i++) {
    seen.push(await drawn());
    await page.keyboard.press("n");
    await page.waitForFunction((last) => document.querySelector(".t-drawer .s").dataset.span !== last, seen[i]);
  }
  assert.deepEqual(new Set(seen), new Set(failed.map((span) => span.spanId)));
  assert.equal(await drawn(), seen[0], "after the last error comes the first");
  await page.keyboard.press("N");
  await page.waitForFunction((last) => document.querySelector(".t-drawer .s").dataset.span === last, seen.at(-1));

  const folds = [], unfolds = [];
  for (let i = 0; i < 3; i++) {
    folds.push(await press(page, "H"));
    unfolds.push(await press(page, "L"));
  }
  figures.push(within("fold", median(folds), FOLD_MS, factor), within("unfold", median(unfolds), FOLD_MS, factor));
  await page.locator(".t-find form").waitFor();
  const found = await page.evaluate(() => {
    const box = document.querySelector(".t-find form input");
    box.value = "status:error name:\"import row\"";
    const start = performance.now();
    box.dispatchEvent(new Event("input"));
    return performance.now() - start;
  });
  figures.push(within("find", found, FIND_MS, factor));
  await page.locator(".t-find output", { hasText: String(failed.length) }).waitFor();
  const rows = await page.locator(".r").count();
  assert(rows <= 100, `${rows} rows in the document`);
  console.log(`     10,000 spans at pace ${factor.toFixed(2)}: ${figures.join(", ")}`);

  // Selection and search survive a reload: they are in the address.
  await page.waitForURL(/find=status/);
  await page.reload();
  await readyAt(page);
  assert.equal(await page.locator(".t-find form input").inputValue(), "status:error name:\"import row\"");
  await page.goto(`${server.base}/trace/${traceId}`);
  await readyAt(page);
  await tour.accessible(page);
  await tour.weight(`${server.base}/trace/${traceId}`, TRACE(LAYOUT_BYTES));

  // Without the columns the page is what it is without script: its first 200 lines.
  await page.route("**/layout?*", (route) => route.fulfill({ status: 503 }));
  await page.goto(`${server.base}/trace/${traceId}`);
  await page.waitForFunction(() => document.querySelectorAll(".r").length > 100);
  tour.expectStatus(503);

  // Never seen: a page that says so and how long traces are kept.
  const answer = await page.goto(`${server.base}/trace/${hex(16)}`);
  assert.equal(answer.status(), 404);
  tour.expectStatus(404);
  assert.match(await page.locator("main").innerText(), /kept for 7d/);
}

const readyAt = async (page) => {
  await page.waitForFunction(() => document.querySelector(".trace").dataset.ready);
  return Number(await page.locator(".trace").getAttribute("data-ready"));
};

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Milliseconds of script that a key takes in the waterfall. */
const press = (page, key) => page.evaluate((key) => {
  const grid = document.querySelector(".wf");
  const start = performance.now();
  grid.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  return performance.now() - start;
}, key);

/** A job with steps of 99 rows each; every 2,000th row failed. */
function batchTrace(traceId) {
  const start = BigInt(Date.now() - 60_000) * 1_000_000n;
  const ids = Array.from({ length: SPANS }, () => hex(8));
  return ids.map((spanId, n) => {
    const step = Math.floor((n - 1) / 100);
    const isStep = (n - 1) % 100 === 0;
    const [from, to] = n === 0 ? [0, 10_000] : isStep ? [step * 100, step * 100 + 99] : [step * 100 + ((n - 1) % 100), step * 100 + ((n - 1) % 100) + 0.9];
    const at = (ms) => String(start + BigInt(Math.round(ms * 1e6)));
    return {
      traceId, spanId, parentSpanId: n === 0 ? "" : isStep ? ids[0] : ids[1 + step * 100],
      name: n === 0 ? "nightly import" : isStep ? `step ${step}` : "import row",
      kind: 1, startTimeUnixNano: at(from), endTimeUnixNano: at(to),
      ...(n % 2_000 === 50 ? { status: { code: 2, message: "rejected" } } : {}),
    };
  });
}
