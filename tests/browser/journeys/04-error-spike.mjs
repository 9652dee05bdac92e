// Journey 4: the service with an error spike is the first row; one click leads to its page, the next
// to its slowest traces; figures have a yesterday or a dash; env and sorting follow in the address.
import assert from "node:assert/strict";
import { hex, nanosAgo } from "../server.mjs";

const DAY_MS = 24 * 3_600_000;

export default async function errorSpike(tour) {
  const server = await tour.server();
  const span = (agoMs, ms, more) => ({ name: "POST /pay", startTimeUnixNano: nanosAgo(agoMs), endTimeUnixNano: nanosAgo(agoMs - ms), ...more });
  const failed = { status: { code: 2 } };
  const prod = { "deployment.environment.name": "prod", "service.instance.id": "one" };
  const slowest = hex(16);
  await server.sendSpans("catalog", Array.from({ length: 40 }, (_, i) => span(60_000 + i * 1000, 20)), {}, prod);
  await server.sendSpans("catalog", [span(70_000, 20)], {}, { ...prod, "service.instance.id": "two" });
  await server.sendSpans("payments", Array.from({ length: 40 }, (_, i) => span(60_000 + i * 1000, 300, i < 20 ? failed : {})), {}, prod);
  await server.sendSpans("payments", [span(50_000, 2500, { traceId: slowest, ...failed })], {}, prod);
  await server.sendSpans("payments", Array.from({ length: 20 }, (_, i) => span(DAY_MS + 60_000 + i * 1000, 100)), {}, prod);
  await server.sendSpans("batch", [span(60_000, 30)], {}, { "deployment.environment": "staging" });
  await server.sendLogs("payments", [{ body: "card declined", severityNumber: 17, severityText: "ERROR" }], {}, prod);

  const page = await tour.page();
  await page.goto(`${server.base}/`);
  const rows = page.locator(".services tbody tr");
  assert.match(await rows.first().locator("th").innerText(), /payments/, "the worst is first");
  assert.match(await page.locator("h1").innerText(), /payments needs a look/);
  const cells = async (name) => (await rows.filter({ hasText: name }).locator("td.change").allInnerTexts()).map((text) => text.trim());
  const [rate, errors, p95] = await cells("payments");
  assert.match(rate, /^\+1\d\d %$/, "twice the requests of yesterday");
  assert.match(errors, /^\+5\d\.\d pp$/);
  assert.match(p95, /^\+\d+ %$/);
  assert.deepEqual(await cells("catalog"), ["–", "–", "–"], "nothing yesterday is a dash");
  assert.equal((await rows.filter({ hasText: "catalog" }).locator("td").last().innerText()).trim(), "2");
  await tour.accessible(page);

  // On a phone no figure is cut.
  await page.setViewportSize({ width: 360, height: 780 });
  const right = await rows.first().locator("td.num:visible").last().evaluate((cell) => cell.getBoundingClientRect().right);
  assert(right <= 360, `the last figure ends at ${right} px of 360`);
  await page.setViewportSize({ width: 1280, height: 800 });

  // Sorting is in the address; so is the environment, on every page.
  await page.locator(".services thead").getByRole("link", { name: "Inst" }).click();
  await page.waitForURL(/sort=instances/);
  assert.match(await rows.first().innerText(), /catalog/);
  await page.locator(".top summary", { hasText: "env" }).click();
  await page.getByRole("link", { name: "prod", exact: true }).click();
  await page.waitForURL(/env=prod/);
  assert.equal(await rows.filter({ hasText: "batch" }).count(), 0, "staging is not prod");
  await page.goto(`${server.base}/?env=prod`);

  // One click: the service; two: its slowest trace is the first row.
  await rows.first().getByRole("link", { name: "payments" }).click();
  await page.waitForURL(/\/services\/payments\?.*env=prod/);
  await tour.accessible(page);
  await page.getByRole("link", { name: "Slowest" }).click();
  await page.waitForURL(/\/traces\?/);
  assert.match(page.url(), /env=prod/);
  await page.locator(`a[href*="/trace/${slowest}"]`).first().waitFor();
  await tour.weight(`${server.base}/`);
}
