// Sends one trace and its log lines with the Node SDK over every transport it has.
//
// usage: node send.mjs GRPC_ADDRESS HTTP_ADDRESS
// Prints one line per transport: `<service> <trace id>`.

import { SpanKind, SpanStatusCode, context, trace } from "@opentelemetry/api";
import { SeverityNumber, logs } from "@opentelemetry/api-logs";
import { OTLPLogExporter as GrpcLogs } from "@opentelemetry/exporter-logs-otlp-grpc";
import { OTLPLogExporter as JsonLogs } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPLogExporter as ProtoLogs } from "@opentelemetry/exporter-logs-otlp-proto";
import { OTLPTraceExporter as GrpcSpans } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonSpans } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoSpans } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-node";

const [grpc, http] = process.argv.slice(2);

/** A checkout of two spans, one of them failed, and two log lines inside it. */
async function send(service, spans, records) {
  const sdk = new NodeSDK({
    resource: resourceFromAttributes({ "service.name": service, "service.version": "1.8.2" }),
    spanProcessors: [new BatchSpanProcessor(spans)],
    logRecordProcessors: [new BatchLogRecordProcessor({ exporter: records })],
    metricReaders: [],
    instrumentations: [],
  });
  sdk.start();
  const tracer = trace.getTracer("shop", "0.1");
  const logger = logs.getLogger("shop", "0.1");
  const root = tracer.startSpan("POST /checkout", { kind: SpanKind.SERVER, attributes: { "http.route": "/checkout" } });
  context.with(trace.setSpan(context.active(), root), () => {
    logger.emit({ severityNumber: SeverityNumber.INFO, severityText: "info", body: `checkout started for ${service}` });
    const charge = tracer.startSpan("charge card", { kind: SpanKind.CLIENT });
    charge.recordException(new Error("card expired"));
    charge.setStatus({ code: SpanStatusCode.ERROR, message: "card expired" });
    charge.end();
    logger.emit({ severityNumber: SeverityNumber.ERROR, body: { message: `card declined for ${service}`, order: 7 } });
  });
  root.end();
  await sdk.shutdown();
  trace.disable();
  logs.disable();
  context.disable();
  console.log(service, root.spanContext().traceId);
}

await send("node-grpc", new GrpcSpans({ url: `http://${grpc}` }), new GrpcLogs({ url: `http://${grpc}` }));
await send(
  "node-json",
  new JsonSpans({ url: `http://${http}/v1/traces` }),
  new JsonLogs({ url: `http://${http}/v1/logs`, compression: "gzip" }),
);
await send(
  "node-proto",
  new ProtoSpans({ url: `http://${http}/v1/traces`, compression: "gzip" }),
  new ProtoLogs({ url: `http://${http}/v1/logs` }),
);
