// Journey 21: metrics are found without a query and asked with one: completion by keyboard, a mistake
// under its place, graph and table, exemplars that lead to their trace, too many series told.
import assert from "node:assert/strict";
import { CHARTS } from "../gates.mjs";
import { attributes, hex } from "../server.mjs";

const NOW = Date.now();
const nanos = (ms) => `${Math.round(ms)}000000`;
const steps = (f) => Array.from({ length: 120 }, (_, i) => f(i, nanos(NOW - 1_800_000 + i * 15_000)));

export default async function promql(tour) {
  const server = await tour.server();
  const traceId = hex(16);
  await server.sendSpans("shop", [{ traceId, spanId: hex(8), name: "POST /pay" }]);
  await send(server, traceId);
  const page = await tour.page();
  await browse(page, server, tour);
  await ask(page, server);
  await look(page, server, tour, traceId);
  await many(page, server);
  await tour.weight(`${server.base}/explore?expr=rate(shop_payments_total[5m])`, CHARTS);
  await withoutScript(tour, server, traceId);
}

/** A counter of two routes, a histogram whose exemplars name a trace, a gauge of sixty queues. */
async function send(server, traceId) {
  const start = nanos(NOW - 1_800_000);
  const point = (timeUnixNano, labels, more) => ({ timeUnixNano, startTimeUnixNano: start, attributes: attributes(labels), ...more });
  const payments = ["/pay", "/refund"].flatMap((route, n) => steps((i, at) => point(at, { route }, { asDouble: i * 30 * (n + 1) })));
  const waits = steps((i, at) => point(at, {}, {
    count: String(i * 10), sum: i * 2, explicitBounds: [0.1, 1], bucketCounts: [i * 5, i * 4, i].map(String),
    exemplars: i === 60 ? [{ timeUnixNano: at, asDouble: 0.7, traceId, spanId: hex(8) }] : [],
  }));
  const queues = Array.from({ length: 60 }, (_, n) => n).flatMap((n) => steps((i, at) => point(at, { queue: `q${n}` }, { asDouble: n })));
  const metrics = [
    { name: "shop.payments", description: "Payments taken", sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: payments } },
    { name: "shop.wait", unit: "s", description: "How long", histogram: { aggregationTemporality: 2, dataPoints: waits } },
    { name: "queue.depth", gauge: { dataPoints: queues } },
  ];
  const resource = { attributes: attributes({ "service.name": "shop" }) };
  const answer = await server.post("/v1/metrics", { resourceMetrics: [{ resource, scopeMetrics: [{ scope: { name: "journey" }, metrics }] }] });
  assert.equal(answer.status, 200, await answer.text());
}

/** Every metric has a card whose link is the query that it was drawn by. */
async function browse(page, server, tour) {
  await page.goto(server.base);
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await page.waitForURL("**/explore**");
  const cards = page.locator(".cards li");
  await cards.first().waitFor();
  assert.match(await cards.filter({ hasText: "shop_payments_total" }).innerText(), /counter · rate/);
  assert.match(await cards.filter({ hasText: "shop_wait_seconds" }).innerText(), /p95/);
  await tour.accessible(page);
  await page.keyboard.press("f");
  await page.keyboard.type("payments taken");
  await page.keyboard.press("Enter");
  await page.waitForURL(/find=/);
  assert.equal(await cards.count(), 1, "the help is searched too");
  await cards.first().locator("a").click();
  await page.waitForURL(/expr=sum/);
  assert.equal(await page.locator(".leg [data-line]").count(), 1);
}

/** By keyboard alone: a metric, its label, a value; then a mistake, and formatting. */
async function ask(page, server) {
  await page.goto(`${server.base}/explore`);
  const box = page.getByRole("combobox", { name: "PromQL expression A" });
  const options = page.getByRole("option");
  await page.keyboard.press("q");
  await page.keyboard.type("rate(paym");
  await options.filter({ hasText: "shop_payments_total" }).first().waitFor();
  assert.match(await options.first().innerText(), /counter.*2 series/s);
  await page.keyboard.press("Tab");
  await page.keyboard.type("{ro");
  await options.filter({ hasText: "route" }).first().waitFor();
  await page.keyboard.press("Tab");
  await options.filter({ hasText: "/pay" }).first().waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await box.inputValue(), 'rate(shop_payments_total{route="/pay"');
  await page.keyboard.type("}[5m");
  await page.keyboard.press("Enter");
  await page.waitForURL(/expr=rate/);
  assert.match(await page.getByRole("alert").first().innerText(), /^1:\d+: /m);
  assert.equal(await box.getAttribute("aria-invalid"), "true");
  await box.fill("sum( rate(shop_payments_total [5m]))by(route)");
  await page.keyboard.press("Control+Shift+F");
  await page.waitForFunction(() => document.querySelector("textarea").value.startsWith("sum by (route)"));
  assert.equal(await box.inputValue(), "sum by (route) (rate(shop_payments_total[5m]))");
  await page.keyboard.press("Enter");
  await page.waitForURL(/expr=sum\+by/);
  assert.equal(await page.locator(".leg [data-line]").count(), 2);
}

/** Graph, isolation, table; the exemplar previews its trace and leads to it. */
async function look(page, server, tour, traceId) {
  const query = encodeURIComponent("histogram_quantile(0.95, rate(shop_wait_seconds_bucket[5m]))");
  await page.goto(`${server.base}/explore?expr=${query}&expr=queue_depth&view=both`);
  await page.locator("figure.live canvas").waitFor();
  await tour.accessible(page);
  const lines = page.locator(".leg [data-line]");
  await lines.first().locator("a").click();
  await page.waitForURL(/only=/);
  assert.equal(await page.locator(".leg .off").count(), (await lines.count()) - 1);
  await page.reload();
  assert.equal(await page.locator(".leg .off").count(), (await lines.count()) - 1, "the address keeps it");
  assert.match(await page.locator("details.pex").innerText(), /700 ms/);
  await page.locator("figure.live canvas").waitFor();
  const diamond = page.locator(".pdia a");
  await diamond.hover();
  await page.locator(".tip").filter({ hasText: "shop POST /pay" }).waitFor();
  await diamond.click();
  await page.waitForURL(`**/trace/${traceId}**`);
}

async function many(page, server) {
  await page.goto(`${server.base}/explore?expr=queue_depth`);
  assert.match(await page.locator(".note.warn").innerText(), /50 of 60 series shown/);
  await page.getByRole("link", { name: "Show all 60" }).click();
  await page.waitForURL(/all=1/);
  assert.equal(await page.locator(".leg [data-line]").count(), 60);
  await page.locator("figure.live canvas").waitFor();

  // Dragging zooms; Escape goes back.
  const address = page.url();
  const area = await page.locator(".u-over").boundingBox();
  await page.mouse.move(area.x + area.width * 0.7, area.y + 60);
  await page.mouse.down();
  await page.mouse.move(area.x + area.width * 0.9, area.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/start=.*end=/);
  await page.locator("figure.live canvas").waitFor();
  await page.keyboard.press("Escape");
  await page.waitForURL(address);
}

async function withoutScript(tour, server, traceId) {
  const page = await tour.page({ javaScriptEnabled: false });
  await page.goto(`${server.base}/explore?expr=shop_wait_seconds_bucket&view=both`);
  assert((await page.locator("svg.pln path").count()) >= 3, "the server drew the lines");
  assert((await page.locator("table.vals tbody tr").count()) >= 3);
  assert.equal(await page.locator(`.pdia a[href*="${traceId}"]`).count(), 1);
  await page.locator("textarea[name=expr]").fill("sum(queue_depth)");
  await page.getByRole("button", { name: "Run" }).click();
  await page.waitForURL(/sum/);
  assert.match(await page.locator("table.leg").innerText(), /1\s770/);
}
