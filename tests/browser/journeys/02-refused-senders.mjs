// Journey 2: a wrong token shows the 401 and its reason at the lamp; gRPC sent to the HTTP port
// shows that.
import assert from "node:assert/strict";
import http2 from "node:http2";

export default async function refusedSenders(tour) {
  const server = await tour.server(["--listen", "0.0.0.0:0"]);
  const page = await tour.page();
  await page.goto(await server.setupLink());
  await page.getByLabel("Password").fill("correct horse battery");
  await page.getByLabel("Password").press("Enter");
  await page.waitForURL("**/start");

  const refused = await server.post("/v1/traces", { resourceSpans: [] }, { authorization: "Bearer wp_in_wrong" });
  assert.equal(refused.status, 401);
  assert.match((await refused.json()).message, /checksum/, "OTLP/JSON gets a Status");
  await page.locator("#lamp-traces").getByText("401").first().waitFor();
  await page.locator("#lamp-traces").getByText(/token/).first().waitFor();

  await grpc(server.otlpHttp, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
  await page.locator("#lamp-logs").getByText(/gRPC/).first().waitFor();
  await tour.accessible(page);
}

/** One gRPC call; resolves with its status, which must not be OK. */
async function grpc(base, path) {
  const client = http2.connect(base);
  const call = client.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" });
  call.end(Buffer.from([0, 0, 0, 0, 0]));
  const status = await new Promise((done, fail) => {
    call.on("response", (headers) => headers["grpc-status"] && done(headers["grpc-status"]));
    call.on("trailers", (headers) => done(headers["grpc-status"]));
    call.on("error", fail);
  });
  client.close();
  assert.notEqual(String(status), "0");
}
