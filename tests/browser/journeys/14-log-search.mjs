// Journey 14: a log query by keyboard alone, with completion; chips; facets whose counts add up;
// hostile lines; what a mistake looks like; zooming in the histogram and back.
import assert from "node:assert/strict";
import { attributes, hex, nanosAgo } from "../server.mjs";

const ERROR = { severityNumber: 17, severityText: "ERROR" };
const WARN = { severityNumber: 13, severityText: "WARN" };

export default async function logSearch(tour) {
  const server = await tour.server();
  const line = (i, body, more) => ({ body, timeUnixNano: nanosAgo(30_000 + i * 1000), ...more });
  await server.sendLogs("payments", [
    ...Array.from({ length: 12 }, (_, i) => line(i, `card declined order=${i}`, { ...ERROR, traceId: hex(16), spanId: hex(8), attributes: attributes({ route: i < 5 ? "/health" : "/pay" }) })),
    ...Array.from({ length: 8 }, (_, i) => line(i + 20, "psp slow", WARN)),
  ]);
  await server.sendLogs("checkout", [
    ...Array.from({ length: 30 }, (_, i) => line(i, `cart served in ${i} ms`)),
    line(1, "<script>window.hacked = 1</script></textarea><img src=x onerror=alert(1)>"),
    line(2, "\u202ereversed\u0000 \u{1F525} مرحبا"),
    line(3, `long ${"x".repeat(900_000)} end`),
  ]);

  const page = await tour.page();
  await page.goto(`${server.base}/logs`);
  const lines = page.locator("tr.ln");
  assert.equal(await lines.count(), 53);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await tour.accessible(page);

  // By keyboard only: q, type, arrow, Enter, Enter.
  const field = page.getByRole("combobox", { name: "Search logs" });
  await page.keyboard.press("q");
  await page.keyboard.type("serv");
  const options = page.getByRole("option");
  await options.filter({ hasText: "service" }).first().waitFor();
  assert.equal(await field.getAttribute("aria-expanded"), "true");
  await page.keyboard.press("ArrowDown");
  assert.equal(await field.getAttribute("aria-activedescendant"), await options.first().getAttribute("id"));
  await page.keyboard.press("Enter");
  assert.equal(await field.inputValue(), "service:");
  await options.filter({ hasText: "payments" }).first().waitFor();
  await page.keyboard.type("pay");
  await page.waitForFunction(() => document.querySelectorAll("[role=option]").length === 1);
  await page.keyboard.press("Tab");
  assert.equal(await field.inputValue(), "service:payments ");
  await page.keyboard.press("Enter");
  await page.waitForURL(/query=service/);
  assert.equal(await lines.count(), 20);
  assert.equal(await page.locator(".chip").innerText(), "service:payments");

  // Facets: counts match the lines, the other service is still offered, excluding makes a chip.
  const facet = (name) => page.locator(".facet", { has: page.locator("summary b", { hasText: new RegExp(`^${name}$`) }) });
  const count = async (name, value) => Number((await facet(name).locator(".fv", { hasText: value }).locator(".fc").innerText()).replace(/\D/g, ""));
  assert.equal(await count("service", "payments"), 20);
  assert.equal(await count("service", "checkout"), 33);
  assert.equal((await count("level", "ERR")) + (await count("level", "WRN")), 20);
  await facet("route").locator(".fv", { hasText: "/health" }).hover();
  await facet("route").getByRole("link", { name: "exclude /health" }).click();
  await page.waitForURL(/-route/);
  assert.equal(await lines.count(), 15);
  await page.locator(".chip.not").waitFor();
  await facet("level").locator(".fv", { hasText: "ERR" }).locator("a").first().click();
  await page.waitForURL(/level/);
  assert.equal(await lines.count(), 7);

  // An opened line: every value narrows the query; its state is in the address.
  await lines.first().locator(".tw").focus();
  await page.keyboard.press("Enter");
  await page.locator(".dt").waitFor();
  await page.waitForURL(/open=/);
  await page.reload();
  await page.locator(".dt .dr", { hasText: "route" }).hover();
  await page.getByRole("link", { name: "only route with this value" }).click();
  await page.waitForURL(/query=/);
  assert.equal(await lines.count(), 7);

  // A mistake keeps the last answer, says where, and Tab takes the offered fix.
  await page.goto(`${server.base}/logs?query=declined`);
  assert.equal(await lines.count(), 12);
  assert.equal(await page.locator("mark").count(), 12);
  await page.keyboard.press("q");
  await page.keyboard.type("route:\"/pay");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "column" }).waitFor();
  assert.equal(await lines.count(), 12);
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  await tour.accessible(page);
  await page.keyboard.press("q");
  await page.keyboard.press("Tab");
  await page.waitForURL((url) => !url.searchParams.has("last") && (url.searchParams.get("query") ?? "").endsWith('"'));
  assert.equal(await lines.count(), 7);

  await zoom(page, server, lines);
  await hugeLine(page, server);
  await tour.weight(`${server.base}/logs?query=declined`);
}

/** Dragging over the histogram narrows the time, Escape goes back; a bar is a link by keyboard. */
async function zoom(page, server, lines) {
  await page.goto(`${server.base}/logs`);
  const address = page.url();
  const box = await page.locator(".hist .bars").boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + 20, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/start=.*end=/);
  await page.keyboard.press("Escape");
  await page.waitForURL(address);
  assert.equal(await lines.count(), 53);
  await page.locator(".hist .bars a[tabindex='0']").focus();
  await page.keyboard.press("End");
  await page.keyboard.press("Enter");
  await page.waitForURL(/start=.*end=/);
  assert((await lines.count()) > 0, "the bar leads to its own lines");
}

/** Nearly a megabyte in one line, kept up to 256 KiB: cut in the list and in the record, all of it when asked for. */
async function hugeLine(page, server) {
  await page.goto(`${server.base}/logs?query=long`);
  await page.locator("tr.ln .tw").first().click();
  const part = page.locator(".dt");
  await part.getByText("load all").waitFor();
  const longest = () => Math.max(...[...document.querySelectorAll(".dt .dv")].map((value) => value.textContent.length));
  assert.equal(await page.evaluate(longest), 16 * 1024);
  await part.getByText("load all").click();
  await page.waitForFunction(() => [...document.querySelectorAll(".dt .dv")].some((value) => value.textContent.length > 250_000));
}
