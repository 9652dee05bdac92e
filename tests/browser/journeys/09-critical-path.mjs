// Journey 9: the critical path is drawn, can be switched off, and its table sums to 100 %; the N+1
// group (journey 8) opens in place; zoom and folds are in the address.
import assert from "node:assert/strict";
import { hex } from "../server.mjs";

export default async function criticalPath(tour) {
  const server = await tour.server();
  const traceId = hex(16);
  const [root, load, pay] = [hex(8), hex(8), hex(8)];
  const start = BigInt(Date.now() - 10_000) * 1_000_000n;
  const span = (spanId, parentSpanId, name, from, to) => ({
    traceId, spanId, parentSpanId, name, kind: 1,
    startTimeUnixNano: String(start + BigInt(from) * 1_000_000n), endTimeUnixNano: String(start + BigInt(to) * 1_000_000n),
  });
  await server.sendSpans("gateway", [span(root, "", "POST /checkout", 0, 1000)]);
  await server.sendSpans("checkout", [span(load, root, "LoadCart", 10, 400), span(pay, root, "Pay", 420, 990)]);
  const queries = Array.from({ length: 30 }, (_, n) => span(hex(8), load, "SELECT items", 20 + n * 12, 30 + n * 12));
  await server.sendSpans("postgres", queries);

  const page = await tour.page();
  await page.goto(`${server.base}/trace/${traceId}`);
  await page.waitForFunction(() => document.querySelector(".trace").dataset.ready);
  assert(await page.locator(".cp").first().isVisible(), "the critical path is drawn");
  await page.locator(".t-crit summary").click();
  const shares = await page.locator(".t-crit tbody td:last-child").allInnerTexts();
  const sum = shares.map((text) => parseFloat(text.replace("<", ""))).reduce((a, b) => a + b, 0);
  assert(Math.abs(sum - 100) < 0.5, `${shares} sum to ${sum}`);
  await page.keyboard.press("Escape");
  await page.locator(".wf").focus();
  await page.keyboard.press("c");
  assert(!(await page.locator(".cp").first().isVisible()), "c hides it");
  await page.waitForURL(/critical=off/);

  // Thirty selects stand on one line that opens in place.
  const group = page.getByRole("row", { name: /SELECT items\s*×30/ });
  assert.equal(await group.getAttribute("aria-expanded"), "false");
  await group.locator(".tw").click();
  assert.equal(await group.getAttribute("aria-expanded"), "true");
  const row = page.locator(".r[aria-setsize='30']").first();
  assert.equal(await row.getAttribute("aria-posinset"), "1");
  assert.equal(await row.getAttribute("aria-level"), "4");

  // z zooms to a span; a second session with the same address sees the same.
  await page.getByText("Pay", { exact: true }).click();
  await page.locator(".t-drawer .s").getByText("Pay").first().waitFor();
  await page.keyboard.press("z");
  await page.waitForURL((url) => ["zoom", "fold", "span"].every((name) => url.searchParams.has(name)));
  const other = await tour.page();
  await other.goto(page.url());
  await other.waitForFunction(() => document.querySelector(".trace").dataset.ready);
  const state = (of) => of.evaluate(() => [...document.querySelectorAll(".r:not([hidden])")].map((r) => `${r.id} ${r.getAttribute("aria-selected")} ${r.querySelector(".tl").innerHTML}`).sort());
  assert.deepEqual(await state(other), await state(page));

  // Without JavaScript: the same picture, and folding by links.
  const plain = await tour.page({ javaScriptEnabled: false });
  await plain.goto(`${server.base}/trace/${traceId}`);
  assert(await plain.locator(".cp").first().isVisible());
  await plain.getByRole("link", { name: "Unfold SELECT items" }).click();
  await plain.waitForURL(/fold=g/);
  assert.equal(await plain.locator(".wf").getByText("SELECT items").count(), 31);
  await plain.getByRole("link", { name: /Pay$/ }).first().click();
  await plain.waitForURL(new RegExp(`/trace/${traceId}/span/${pay}`));
  assert.match(await plain.locator("main").innerText(), /of critical path/);
}
