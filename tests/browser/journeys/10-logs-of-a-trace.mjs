// Journey 10: the logs of a trace are all of them and only them; those of a span are the span's own.
import assert from "node:assert/strict";
import { hex } from "../server.mjs";

export default async function logsOfATrace(tour) {
  const server = await tour.server();
  const [traceId, other] = [hex(16), hex(16)];
  const [root, child] = [hex(8), hex(8)];
  await server.sendSpans("checkout", [
    { traceId, spanId: root, name: "POST /pay" },
    { traceId, spanId: child, parentSpanId: root, name: "charge card", kind: 1 },
    { traceId: other, name: "GET /cart" },
  ]);
  const line = (spanId, body, of = traceId) => ({ traceId: of, spanId, body });
  await server.sendLogs("checkout", [
    ...Array.from({ length: 7 }, (_, i) => line(root, `root line ${i}`)),
    ...Array.from({ length: 4 }, (_, i) => line(child, `child line ${i}`)),
    ...Array.from({ length: 9 }, (_, i) => line(hex(8), `other line ${i}`, other)),
  ]);

  const page = await tour.page();
  await page.goto(`${server.base}/trace/${traceId}`);
  const link = page.locator(`a[href*="/logs?"][href*="trace%3A${traceId}"]`).first();
  assert.equal(Number((await link.innerText()).match(/\d+/)[0]), 11);
  await link.click();
  await page.waitForURL(/\/logs\?/);
  const lines = page.locator("tr.ln");
  assert.equal(await lines.count(), 11);
  assert.equal(await page.getByText("other line").count(), 0);

  // A line leads back to its trace, at its span.
  await page.locator("tr.ln", { hasText: "child line 2" }).locator(".tchip").click();
  await page.waitForURL((url) => url.pathname === `/trace/${traceId}` && url.searchParams.get("span") === child);

  // The span's own logs, and the link to them, show the same lines.
  await page.goto(`${server.base}/logs?query=trace:${traceId}+span:${child}`);
  assert.equal(await lines.count(), 4);
  assert.equal(await page.getByText("root line").count(), 0);

  // An opened line leads to all logs of its trace.
  await page.goto(`${server.base}/logs?query=child`);
  await lines.first().locator(".tw").click();
  await page.getByRole("link", { name: "All logs of this trace" }).click();
  await page.waitForURL(/trace%3A|trace:/);
  assert.equal(await lines.count(), 11);
}
