// The span drawer (ui.md W6): the statement over lines, a value as a filter and as a column of the
// traces, and links between traces in both directions.
import assert from "node:assert/strict";
import { attributes, hex, nanosAgo } from "../server.mjs";

const STATEMENT = "SELECT i.id, p.price FROM items i JOIN products p ON p.id = i.product_id WHERE i.order_id = $1 AND p.price > 0";

export default async function spanDrawer(tour) {
  const server = await tour.server();
  const [producer, consumer, root, query, work] = [hex(16), hex(16), hex(8), hex(8), hex(8)];
  await server.sendSpans("checkout", [
    { traceId: producer, spanId: root, name: "PlaceOrder", attributes: attributes({ "order.id": "o-17" }) },
    { traceId: producer, spanId: query, parentSpanId: root, name: "SELECT items", kind: 3, startTimeUnixNano: nanosAgo(900), endTimeUnixNano: nanosAgo(600), attributes: attributes({ "db.system.name": "postgresql", "db.query.text": STATEMENT }) },
  ]);
  await server.sendSpans("shipping", [{ traceId: consumer, spanId: work, name: "ship order", kind: 5, links: [{ traceId: producer, spanId: root }] }]);
  const page = await tour.page();
  const drawer = page.locator(".t-drawer");
  const attribute = (key) => drawer.locator(".s-attr", { hasText: key });

  await page.goto(`${server.base}/trace/${producer}?span=${query}`);
  await page.waitForFunction(() => document.querySelector(".trace").dataset.ready);
  const shown = await attribute("db.query.text").locator("dd").first().innerText();
  assert.deepEqual(shown.split("\n").map((line) => line.trim().split(" ")[0]), ["SELECT", "FROM", "JOIN", "WHERE", "AND"], shown);
  assert.equal(shown.replaceAll(/\s+/g, " "), STATEMENT, "only white space changes");
  await attribute("db.query.text").hover();
  assert.equal(await attribute("db.query.text").locator("[data-copy]").getAttribute("data-copy"), STATEMENT, "what is copied is what was sent");

  // A value becomes a column, and then a filter, of the trace list.
  await page.goto(`${server.base}/trace/${producer}?span=${root}`);
  await attribute("order.id").hover();
  await attribute("order.id").getByRole("link", { name: "as a column of the traces" }).click();
  await page.waitForURL(/\/traces\?.*cols=order.id/);
  await page.locator("table.tl thead").getByText("order.id").waitFor();
  await page.locator("table.tl tbody tr", { hasText: "PlaceOrder" }).getByText("o-17").waitFor();
  await page.goto(`${server.base}/trace/${producer}?span=${root}`);
  await attribute("order.id").hover();
  await attribute("order.id").getByRole("link", { name: "Traces with this order.id" }).click();
  await page.waitForURL(/\/traces\?/);
  assert.equal(await page.locator("table.tl tbody tr").count(), 1, "only the trace with this order");

  // From the producer to the consumer that links to it, and back along the link.
  await page.goto(`${server.base}/trace/${producer}?span=${root}`);
  await drawer.getByRole("link", { name: "Look for links from other traces" }).click();
  await drawer.locator(`a.s-log[href*="/trace/${consumer}"]`).click();
  await page.waitForURL(new RegExp(`/trace/${consumer}.*span=${work}`));
  await drawer.getByRole("heading", { name: "ship order" }).waitFor();
  await drawer.locator(`a.s-log[href*="/trace/${producer}"]`).click();
  await page.waitForURL(new RegExp(`/trace/${producer}.*span=${root}`));
  await drawer.getByRole("heading", { name: "PlaceOrder" }).waitFor();
  await tour.accessible(page);
}
