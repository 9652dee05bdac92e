// Makes docs/screenshot.png from the real binary: node picture.mjs BINARY
// A checkout of a small shop, told by the spans and logs that its services would send.
import { join, resolve } from "node:path";
import { attributes, hex } from "./server.mjs";
import { launch, Tour } from "./tour.mjs";

const browser = await launch();
const tour = new Tour(browser, resolve(process.argv[2] ?? "../../target/release/watchpost"), "picture");
try {
  const server = await tour.server();
  const traceId = hex(16);
  const began = Date.now() - 60_000;
  const at = (ms) => `${began + ms}000000`;
  const ids = new Map();
  const id = (name) => ids.get(name) ?? (ids.set(name, hex(8)), ids.get(name));
  // service, name, parent, start and end in ms of 1240, what is special
  const spans = [
    ["gateway", "POST /checkout", null, 0, 1240, { "http.request.method": "POST", "http.route": "/checkout", "http.response.status_code": 402 }],
    ["checkout", "PlaceOrder", "POST /checkout", 22, 1210, { "order.id": "8f2c", "user.id": 4711 }],
    ["cart", "GetCart", "PlaceOrder", 40, 118, {}],
    ["cart", "HGETALL cart", "GetCart", 52, 96, { "db.system": "redis" }],
    ["catalog", "PriceItems", "PlaceOrder", 126, 430, {}],
    ...Array.from({ length: 12 }, (_, i) => ["catalog", "SELECT items", "PriceItems", 132 + i * 24, 150 + i * 24, { "db.system": "postgresql", "db.query.text": "SELECT price FROM items WHERE id = $1" }, i]),
    ["payments", "ChargeCard", "PlaceOrder", 446, 1148, { "payment.provider": "acme", "error.type": "card_expired" }],
    ["payments", "POST acme/v2/charges", "ChargeCard", 470, 1120, { "http.response.status_code": 402 }],
    ["checkout", "ReleaseStock", "PlaceOrder", 1156, 1204, {}],
  ];
  for (const service of new Set(spans.map(([name]) => name))) {
    await server.sendSpans(service, spans.filter(([name]) => name === service).map(([, name, parent, from, to, values, n]) => {
      const failed = ["ChargeCard", "POST acme/v2/charges", "POST /checkout"].includes(name);
      return {
        traceId, spanId: n === undefined ? id(name) : hex(8), parentSpanId: parent ? id(parent) : undefined, name,
        kind: name.startsWith("POST acme") || values["db.system"] ? 3 : 2,
        startTimeUnixNano: at(from), endTimeUnixNano: at(to),
        attributes: attributes(values), status: failed ? { code: 2, message: "card expired" } : {},
      };
    }));
  }
  await server.sendLogs("payments", [
    { traceId, spanId: id("ChargeCard"), timeUnixNano: at(812), body: "retry 2/3 after gateway timeout", severityNumber: 13, severityText: "WARN" },
    { traceId, spanId: id("ChargeCard"), timeUnixNano: at(1132), body: "payment declined: card expired order=8f2c", severityNumber: 17, severityText: "ERROR" },
  ]);
  const page = await tour.page({ colorScheme: "light" });
  // The font is optional on a first visit: the second has it from the cache.
  await page.goto(`${server.base}/traces`, { waitUntil: "networkidle" });
  await page.goto(`${server.base}/trace/${traceId}?span=${id("ChargeCard")}`, { waitUntil: "networkidle" });
  await page.screenshot({ path: join(import.meta.dirname, "../../docs/screenshot.png") });
} finally {
  await tour.end();
  await browser.close();
}
