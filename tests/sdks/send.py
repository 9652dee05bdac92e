"""Sends one trace and its log lines with the Python SDK over every transport it has.

usage: send.py GRPC_ADDRESS HTTP_ADDRESS
Prints one line per transport: `<service> <trace id>`.
"""

import logging
import sys

import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def send(service, spans, logs):
    """A checkout of three spans, one of them failed, and two log lines inside it."""
    resource = Resource.create({"service.name": service, "service.version": "1.8.2"})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(spans))
    records = LoggerProvider(resource=resource)
    records.add_log_record_processor(BatchLogRecordProcessor(logs))
    logger = logging.getLogger(service)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(LoggingHandler(logger_provider=records))

    tracer = traces.get_tracer("shop", "0.1")
    with tracer.start_as_current_span("POST /checkout", kind=trace.SpanKind.SERVER) as root:
        root.set_attribute("http.route", "/checkout")
        logger.info("checkout started for %s", service)
        with tracer.start_as_current_span("charge card", kind=trace.SpanKind.CLIENT) as charge:
            charge.set_attribute("card.attempts", 2)
            charge.record_exception(ValueError("card expired"))
            charge.set_status(trace.StatusCode.ERROR, "card expired")
            logger.error("card declined for %s", service)
        with tracer.start_as_current_span("send receipt"):
            pass
        trace_id = format(root.get_span_context().trace_id, "032x")
    traces.shutdown()
    records.shutdown()
    print(service, trace_id, flush=True)


def main():
    grpc_address, http_address = sys.argv[1:]
    http = f"http://{http_address}"
    send(
        "py-grpc",
        GrpcSpans(endpoint=grpc_address, insecure=True),
        GrpcLogs(endpoint=grpc_address, insecure=True),
    )
    send(
        "py-grpc-gzip",
        GrpcSpans(endpoint=grpc_address, insecure=True, compression=grpc.Compression.Gzip),
        GrpcLogs(endpoint=grpc_address, insecure=True, compression=grpc.Compression.Gzip),
    )
    for name, compression in [("py-http", Compression.NoCompression), ("py-http-gzip", Compression.Gzip)]:
        send(
            name,
            HttpSpans(endpoint=f"{http}/v1/traces", compression=compression),
            HttpLogs(endpoint=f"{http}/v1/logs", compression=compression),
        )


main()
