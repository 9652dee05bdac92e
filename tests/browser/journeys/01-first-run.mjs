// Journey 1: open the URL from the log, set the password, land on /start, find a token there, run the
// page's own curl command; the lamps turn green within 2 s and the link opens that very span.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export default async function firstRun(tour) {
  const server = await tour.server(["--listen", "0.0.0.0:0"]);
  const page = await tour.page();
  await page.goto(`${server.base}/logs`);
  assert.match(page.url(), /\/login\?next=/, "a stranger is sent to the login page");
  await page.goto(await server.setupLink());
  await tour.accessible(page);
  await page.getByLabel("Password").fill("correct horse battery");
  await page.getByLabel("Password").press("Enter");
  await page.waitForURL("**/start");
  const curl = page.locator("#curl");
  await curl.waitFor();
  const command = await curl.innerText();
  assert.match(command, /wp_in_/, "the fresh token is inside the command");
  await promisify(execFile)("sh", ["-ec", command]);
  const sent = performance.now();
  for (const lamp of ["traces", "logs"]) {
    await page.locator(`#lamp-${lamp}`).getByText("stored and searchable").waitFor();
  }
  assert(performance.now() - sent < 2_500, "the lamps turn green within 2 s");
  await tour.accessible(page);
  await page.locator("#lamp-traces").getByRole("link").click();
  await page.waitForURL("**/trace/**");
  const trace = page.url().match(/trace\/([0-9a-f]{32})/)[1];
  assert(command.includes(trace) || (await page.content()).includes(trace), "the link opens the span that was sent");
  await demo(page, server);
  await page.goto(`${server.base}/login`);
  await page.waitForURL(`${server.base}/`);
}

/** The demo is there with one click, all of it one environment, and gone with one. */
async function demo(page, server) {
  await page.goto(`${server.base}/start`);
  await page.getByRole("button", { name: "Load demo data" }).click();
  await page.waitForURL(/\/\?start=15m/);
  const rows = page.locator(".services tbody tr");
  for (const service of ["gateway", "checkout", "payments", "catalog"]) await rows.filter({ hasText: service }).waitFor();
  await page.goto(`${server.base}/traces?start=15m&env=demo&query=${encodeURIComponent("duration:>4s status:error")}`);
  await page.locator('a[href*="/trace/"]').first().waitFor();
  const offered = page.locator(".top details.menu a", { hasText: "payments" });
  assert.equal(await offered.count(), 1, "the service menu has it");
  await page.goto(`${server.base}/start`);
  await page.getByRole("button", { name: "Remove demo data" }).click();
  await page.waitForURL(/\/start/);
  await page.goto(`${server.base}/logs?start=1h&env=demo`);
  assert.equal(await offered.count(), 0, "a service without a record is not in the menu");
  await page.getByRole("heading", { name: "No line matches" }).or(page.getByRole("heading", { name: "No logs yet" })).waitFor();
}
