// Journey 15: dragging in the histogram zooms, Escape restores, the address says so, and all of it
// works by keyboard; lines alike fold to one with their count; sent queries are remembered.
import assert from "node:assert/strict";
import { nanosAgo } from "../server.mjs";

export default async function histogram(tour) {
  const server = await tour.server();
  const line = (minutes, body, more) => ({ body, timeUnixNano: nanosAgo(minutes * 60_000), ...more });
  await server.sendLogs("cart", [
    ...Array.from({ length: 30 }, (_, i) => line(50 - i, `cart ${i} served in ${i} ms`)),
    line(10, "cart lost", { severityNumber: 17, severityText: "ERROR" }),
    ...Array.from({ length: 5 }, (_, i) => line(5 - i * 0.1, `poll ${i} took ${i * 7} ms`)),
  ]);
  const page = await tour.page();
  await page.goto(`${server.base}/logs`);
  const lines = page.locator("tr.ln");
  const bars = page.locator(".hist .bars");
  const address = page.url();
  assert.equal(await lines.count(), 36);

  // Dragging over the newest quarter leaves the newest lines.
  const box = await bars.boundingBox();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 2, box.y + 20, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/start=.*end=/);
  assert.equal(await lines.count(), 6);
  await page.keyboard.press("Escape");
  await page.waitForURL(address);
  assert.equal(await lines.count(), 36);

  // By keyboard: one stop, arrows move, Shift selects, Enter zooms, Escape goes back.
  const links = await bars.locator("a").count();
  assert.equal(await bars.locator("a[tabindex='0']").count(), 1, "one stop in the tab order");
  await bars.locator("a[tabindex='0']").focus();
  await page.keyboard.press("End");
  assert.equal(await page.evaluate(() => [...document.activeElement.parentNode.querySelectorAll("a")].indexOf(document.activeElement)), links - 1);
  await page.keyboard.press("Shift+ArrowLeft");
  assert.equal(await bars.locator(".drag").count(), 1, "the selection is drawn");
  await page.keyboard.press("Enter");
  await page.waitForURL(/start=.*end=/);
  const zoomed = await lines.count();
  assert(zoomed > 0 && zoomed < 36, `${zoomed} lines in two bars`);
  await page.keyboard.press("Escape");
  await page.waitForURL(address);

  // Without JavaScript a bar is a link into its time.
  assert.match(await bars.locator("a").first().getAttribute("href"), /start=.*end=/);
  await folds(page, server, lines);
  await history(page, server);
}

/** Five polls and thirty carts say the same: two folds and one line; no count is lost. */
async function folds(page, server, lines) {
  await page.getByRole("link", { name: "Collapse" }).click();
  await page.waitForURL(/collapse=1/);
  assert.equal(await lines.count(), 3);
  const counts = await page.locator(".alike").allInnerTexts();
  assert.deepEqual(counts, ["×5", "×30"]);
  assert.match(await page.locator(".sum b").innerText(), /36/, "the total stays that of all lines");
  await page.locator(".alike").first().click();
  await page.waitForURL(/unfold=/);
  assert.equal(await lines.count(), 7);
  assert.equal(await page.locator(".alike").first().getAttribute("aria-expanded"), "true");
  await page.locator(".alike").first().click();
  await page.waitForURL((url) => !url.searchParams.has("unfold"));
  await page.getByRole("link", { name: "Collapse" }).click();
  await page.waitForURL((url) => !url.searchParams.has("collapse"));
  assert.equal(await lines.count(), 36);
}

/** What was sent and worked is offered again, newest first, and can be forgotten. */
async function history(page, server) {
  for (const query of ["lost", "poll", "level:>=nonsense"]) {
    await page.goto(`${server.base}/logs`);
    await page.keyboard.press("q");
    await page.keyboard.type(query);
    await page.keyboard.press("Enter");
    await page.waitForURL(/query=/);
  }
  await page.goto(`${server.base}/logs`);
  await page.keyboard.press("q");
  await page.keyboard.press("ArrowDown");
  const options = page.getByRole("option");
  await options.first().waitFor();
  assert.deepEqual(await options.locator("span").allInnerTexts(), ["poll", "lost", "Forget these"], "mistakes are not remembered");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await page.getByRole("combobox", { name: "Search logs" }).inputValue(), "lost");
  await page.keyboard.press("Enter");
  await page.waitForURL(/query=lost/);
  assert.equal(await page.locator("tr.ln").count(), 1);
  await page.goto(`${server.base}/logs`);
  await page.keyboard.press("q");
  await page.keyboard.press("ArrowDown");
  await options.filter({ hasText: "Forget" }).click();
  assert.equal(await page.evaluate(() => localStorage.getItem("queries:/logs")), "[]");
}
