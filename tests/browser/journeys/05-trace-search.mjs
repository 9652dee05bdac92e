// Journey 5: traces by attribute and duration; Back restores the results and the place in them.
import assert from "node:assert/strict";
import { attributes, hex, nanosAgo } from "../server.mjs";

export default async function traceSearch(tour) {
  const server = await tour.server();
  const spans = Array.from({ length: 60 }, (_, i) => ({
    traceId: hex(16),
    name: i % 2 ? "GET /cart" : "POST /pay",
    startTimeUnixNano: nanosAgo(60_000 + i * 1000),
    endTimeUnixNano: nanosAgo(60_000 + i * 1000 - (i % 2 ? 40 : 700 + i)),
    attributes: attributes({ "http.route": i % 2 ? "/cart" : "/pay", attempt: i }),
  }));
  await server.sendSpans("checkout", spans);
  const child = { traceId: spans[0].traceId, parentSpanId: hex(8), name: "SELECT items", kind: 3, attributes: attributes({ "db.system": "postgresql" }) };
  await server.sendSpans("postgres", [{ ...child, startTimeUnixNano: nanosAgo(59_900), endTimeUnixNano: nanosAgo(59_800) }]);

  const page = await tour.page();
  await page.goto(`${server.base}/traces`);
  const rows = page.locator(".tl tbody tr");
  assert.equal(await rows.count(), 60);
  await tour.accessible(page);
  await page.getByLabel("Search traces").fill('http.route:"/pay" duration:>600ms');
  await page.getByLabel("Search traces").press("Enter");
  await page.waitForURL(/query=/);
  assert.equal(await rows.count(), 30);
  assert.equal(await page.locator(".tl").getByText("GET /cart").count(), 0);
  assert.equal(await page.locator(".chip").count(), 2);

  // The query is the same whether it was typed or followed as a link.
  const address = page.url();
  await rows.nth(25).scrollIntoViewIfNeeded();
  const scrolled = await page.evaluate(() => scrollY);
  assert(scrolled > 0, "thirty rows are more than one screen");
  await rows.nth(25).locator("a").first().click();
  await page.waitForURL("**/trace/**");
  await page.goBack();
  await page.waitForURL(address);
  assert.equal(await rows.count(), 30);
  await page.waitForFunction((y) => Math.abs(scrollY - y) < 4, scrolled);

  // A span that is not the root is named beside its trace and opens there.
  await page.goto(`${server.base}/traces?query=${encodeURIComponent("db.system:postgresql")}`);
  assert.equal(await rows.count(), 1);
  const hit = rows.first().locator(".hit");
  assert.match(await hit.innerText(), /SELECT items/);
  assert.match(await hit.getAttribute("href"), /span=[0-9a-f]{16}/);
  // Only roots: nothing of postgres is one.
  await page.getByRole("link", { name: "Root", exact: true }).click();
  await page.waitForURL(/spans=root/);
  await page.getByText("No trace matches").or(page.getByText("Nothing in this time range")).first().waitFor();
  await tour.weight(`${server.base}/traces`);
}
