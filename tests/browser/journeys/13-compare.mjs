// Journey 13: a slow trace beside the typical one of its root operation: the injected span has the
// greatest difference; another trace can be pasted; none of it needs JavaScript.
import assert from "node:assert/strict";
import { hex } from "../server.mjs";

const NORMAL = 9;

export default async function compare(tour) {
  const server = await tour.server();
  const start = BigInt(Date.now() - 600_000) * 1_000_000n;
  const send = async (at, slow) => {
    const [traceId, root, pay] = [hex(16), hex(8), hex(8)];
    const span = (spanId, parentSpanId, name, from, to) => ({
      traceId, spanId, parentSpanId, name, kind: parentSpanId ? 1 : 2,
      startTimeUnixNano: String(start + BigInt((at + from) * 1_000_000)), endTimeUnixNano: String(start + BigInt((at + to) * 1_000_000)),
    });
    const lock = slow ? 700 : 0;
    await server.sendSpans("shop", [
      span(root, "", "POST /pay", 0, 300 + at / 1_000 + lock),
      span(hex(8), root, "load cart", 5, 95),
      span(pay, root, "charge card", 100, 290 + lock),
      ...(slow ? [span(hex(8), pay, "wait for lock", 110, 110 + lock)] : [span(hex(8), root, "send receipt", 291, 299)]),
    ]);
    return traceId;
  };
  const normal = [];
  for (let i = 0; i < NORMAL; i++) normal.push(await send(i * 1_000, false));
  // Another root operation of the same service is no part of what is typical.
  await server.sendSpans("shop", [{ name: "GET /" }]);
  const slow = await send(NORMAL * 1_000, true);

  const page = await tour.page();
  await page.goto(`${server.base}/trace/${slow}`);
  await page.getByRole("link", { name: "Compare" }).click();
  await page.waitForURL(`**/trace/${slow}/compare**`);
  await page.getByText(`median of ${NORMAL} traces`).waitFor();
  const rows = page.locator(".compare tbody tr");
  const first = rows.first();
  assert.match(await first.innerText(), /wait for lock[\s\S]*only here[\s\S]*\+700 ms/);
  const missing = rows.filter({ hasText: "missing here" });
  assert.match(await missing.innerText(), /send receipt[\s\S]*−8\.00 ms/);
  assert.match(await rows.filter({ hasText: "load cart" }).innerText(), /\t0\t/, "what is the same says so");
  assert.equal(await rows.count(), 5);
  await tour.accessible(page);

  // From an operation back to its spans in the waterfall.
  await first.getByRole("link", { name: "wait for lock" }).click();
  await page.waitForURL(/find=/);
  await page.locator(".t-find output", { hasText: "1" }).waitFor();

  // Without JavaScript: against one trace, by its pasted address.
  const plain = await tour.page({ javaScriptEnabled: false });
  await plain.goto(`${server.base}/trace/${slow}/compare`);
  await plain.getByLabel("Compare with the trace").fill(`${server.base}/trace/${normal[0]}?span=none`);
  await plain.getByRole("button", { name: "Compare" }).click();
  await plain.getByRole("link", { name: `trace ${normal[0].slice(0, 8)}` }).waitFor();
  assert.match(await plain.locator(".compare tbody tr").first().innerText(), /wait for lock/);
  await plain.goto(`${server.base}/trace/${slow}/compare?with=nothing`);
  await plain.getByText("That names no trace").waitFor();
  await plain.goto(`${server.base}/trace/${slow}/compare?with=${hex(16)}`);
  await plain.getByText("never received").waitFor();
}
