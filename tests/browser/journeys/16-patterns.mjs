// Journey 16: the patterns tab counts lines by their text, shares and first sightings, includes and
// excludes by links, and shows what is new; without JavaScript as well.
import assert from "node:assert/strict";
import { nanosAgo } from "../server.mjs";

export default async function patterns(tour) {
  const server = await tour.server();
  const line = (minutes, body, more) => ({ body, timeUnixNano: nanosAgo(minutes * 60_000), ...more });
  await server.sendLogs("cart", [
    ...Array.from({ length: 30 }, (_, i) => line(50 - i, `cart ${i} served in ${i} ms`)),
    ...Array.from({ length: 9 }, (_, i) => line(9 - i, `payment ${i} declined`, { severityNumber: 17, severityText: "ERROR" })),
  ]);
  await server.sendLogs("mail", [line(3, "queue is empty")]);
  for (const javaScriptEnabled of [true, false]) {
    const page = await tour.page({ javaScriptEnabled });
    await page.goto(`${server.base}/logs`);
    await page.getByRole("link", { name: "Patterns", exact: true }).click();
    await page.waitForURL(/\/logs\/patterns/);
    const rows = page.locator("table.pt tbody tr");
    assert.deepEqual(await rows.locator(".pp>a").allTextContents(), ["cart <#> served in <#> ms", "payment <#> declined", "queue is empty"]);
    assert.match(await rows.nth(0).locator(".pn").innerText(), /^30/);
    assert.match(await rows.nth(0).locator(".pc").innerText(), /^75/);
    assert.match(await rows.nth(1).locator(".pv").innerText(), /ERR\s*9/);
    assert.match(await rows.nth(2).locator(".pp").innerText(), /mail/);
    assert.equal(await rows.nth(0).locator(".pf time").count(), 1);
    assert.equal(await rows.nth(0).locator(".pg svg.spark path").count(), 1);

    // Exclude stays here, include leads to the lines of one pattern, both as a term of the query.
    await rows.nth(0).getByRole("link", { name: "Exclude" }).click();
    await page.waitForURL(/query=-pattern/);
    assert.equal(await rows.count(), 2);
    await rows.nth(0).getByRole("link", { name: "Include" }).click();
    await page.waitForURL(/\/logs\?/);
    assert.equal(await page.locator("tr.ln").count(), 9);
    assert.match(await page.locator(".qbar .chip").first().innerText(), /pattern:/);

    // What came first within five minutes.
    await page.goto(`${server.base}/logs/patterns`);
    await page.getByRole("textbox", { name: "New since" }).fill("5m");
    await page.keyboard.press("Enter");
    await page.waitForURL(/new=5m/);
    assert.deepEqual(await rows.locator(".pp>a").allTextContents(), ["queue is empty"]);
    await page.goto(`${server.base}/logs/patterns?new=soon`);
    assert.match(await page.locator(".note.warn").innerText(), /soon is not a time/);
    assert.equal(await rows.count(), 3);
    await page.goto(`${server.base}/logs/patterns`);
    if (javaScriptEnabled) await tour.accessible(page);
  }
  await tour.weight(`${server.base}/logs/patterns`);
}
