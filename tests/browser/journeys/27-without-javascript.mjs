// Journey 27: no JavaScript at all: log in, search logs, open the trace.
import assert from "node:assert/strict";
import { hex } from "../server.mjs";

export default async function withoutJavaScript(tour) {
  const server = await tour.server(["--listen", "0.0.0.0:0"]);
  const page = await tour.page({ javaScriptEnabled: false });
  await page.goto(await server.setupLink());
  await page.getByLabel("Password").fill("correct horse battery");
  await page.getByRole("button").click();
  await page.waitForURL("**/start");
  const token = (await page.content()).match(/wp_in_[\w-]+/)[0];
  const headers = { authorization: `Bearer ${token}` };
  const traceId = hex(16);
  const spanId = hex(8);
  await server.sendSpans("checkout", [{ traceId, spanId, name: "POST /pay" }], headers);
  await server.sendLogs("checkout", [{ body: "payment declined order=8f2c", severityNumber: 17, severityText: "ERROR", traceId, spanId }, { body: "all is well" }], headers);

  await page.goto(`${server.base}/logs`);
  await page.locator("[name=query]").first().fill("declined");
  await page.locator("[name=query]").first().press("Enter");
  await page.waitForURL(/query=declined/);
  const text = await page.locator("main").innerText();
  assert.match(text, /payment declined order=8f2c/);
  assert.doesNotMatch(text, /all is well/);
  await page.locator(`a[href*="/trace/${traceId}"]`).first().click();
  await page.waitForURL(`**/trace/${traceId}**`);
  assert.match(await page.locator("main").innerText(), /POST \/pay/);

  // Logging out ends it.
  await page.goto(`${server.base}/settings`);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL("**/login");
  await page.goto(`${server.base}/logs`);
  assert.match(page.url(), /\/login\?next=/);
}
