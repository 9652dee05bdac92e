// Journey 3: a trace id pasted into the search box, in any of the forms people have it in.
import assert from "node:assert/strict";
import { hex } from "../server.mjs";

export default async function pasteAnId(tour) {
  const server = await tour.server();
  const traceId = hex(16);
  const spanId = hex(8);
  await server.sendSpans("checkout", [{ traceId, spanId, name: "POST /pay" }]);
  const page = await tour.page();
  const forms = {
    hex: traceId,
    "upper case": traceId.toUpperCase(),
    base64: Buffer.from(traceId, "hex").toString("base64"),
    traceparent: `00-${traceId}-${spanId}-01`,
  };
  for (const [form, text] of Object.entries(forms)) {
    await page.goto(`${server.base}/`);
    await page.keyboard.press("/");
    await page.keyboard.type(text);
    await page.keyboard.press("Enter");
    await page.waitForURL(`**/trace/${traceId}**`, { timeout: 5_000 }).catch(() => assert.fail(`${form}: landed on ${page.url()}`));
    await page.getByText("POST /pay").first().waitFor();
  }
  // Anything else is a search in the logs.
  await page.goto(`${server.base}/`);
  await page.keyboard.press("/");
  await page.keyboard.type("payment declined");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/logs\?.*query=payment/);
}
