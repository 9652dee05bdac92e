#!/usr/bin/env python3
"""Runs what /start tells people to paste, against a release binary that wants a token.

usage: run.py BINARY

curl, Python and Node are run as they stand (Python and Node where their packages are at hand, see
tests/sdks). Configuration files are read by a real parser of their format, and the address and
header inside them are requested. Each line of the table says which; docs/senders.md repeats it.
Fails when a snippet that can be tried here does not deliver.
"""

import html
import http.client
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.parse
import urllib.request

import yaml

PROTOBUF = "application/x-protobuf"


class Server:
    """The binary on ports and data of its own; senders need a token."""

    def __init__(self, binary):
        self.dir = tempfile.mkdtemp(prefix="watchpost-snippets-")
        env = {**os.environ, "WATCHPOST_AUTH__INGEST": "token"}
        args = [binary, "--data-dir", f"{self.dir}/data", "--listen", "127.0.0.1:0"]
        args += ["--otlp-grpc-listen", "off", "--otlp-http-listen", "off"]
        self.child = subprocess.Popen(args, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.host = re.search(r"http=(\S+)", self.child.stdout.readline())[1]
        self.base = f"http://{self.host}"

    def get(self, path):
        with urllib.request.urlopen(self.base + path) as answer:
            return answer.read().decode()

    def found(self, kind, query):
        """Records that a query finds, waited for at most ten seconds: SDKs send in batches."""
        for _ in range(50):
            found = json.loads(self.get(f"/api/v1/{kind}?" + urllib.parse.urlencode({"query": query, "start": "now-1d"})))
            if records := found["records" if kind == "logs" else "traces"]:
                return records
            time.sleep(0.2)
        raise AssertionError(f"no {kind} match {query}")

    def snippets(self):
        page = self.get("/start")
        blocks = re.findall(r'<pre id="([^"]+)"[^>]*>(.*?)</pre>', page, re.S)
        return {name: html.unescape(re.sub(r"<[^>]+>", "", text)) for name, text in blocks}

    def stop(self):
        self.child.terminate()
        self.child.wait()
        shutil.rmtree(self.dir)


def post(address, path, headers, body=b""):
    """The status of a POST; an empty OTLP request is a success."""
    where = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.request("POST", path, body, headers)
    return connection.getresponse().status


def accepted(address, token, path="/v1/traces", content_type=PROTOBUF, body=b""):
    """The door takes the token and refuses a wrong one, so that the header is what counted."""
    header = {"authorization": f"Bearer {token}", "content-type": content_type}
    good = post(address, path, header, body)
    assert good in (200, 204), f"{path} answered {good}"
    bad = post(address, path, {**header, "authorization": "Bearer wrong"}, body)
    assert bad == 401, f"{path} with a wrong token answered {bad}"


LOKI = json.dumps({"streams": [{"stream": {"service_name": "shop"}, "values": [[f"{time.time_ns()}", "a line"]]}]}).encode()


def loki(address, token):
    accepted(address, token, "/loki/api/v1/push", "application/json", LOKI)


def shell(text, **more):
    subprocess.run(["sh", "-ec", text], check=True, capture_output=True, timeout=60, **more)


def exports(text):
    """What the lines `export NAME=value` set, as a shell reads them."""
    trimmed = [line.strip().removesuffix("\\") for line in text.splitlines()]
    lines = [line for line in trimmed if line.startswith(("export ", "OTEL_"))]
    script = "set -a\n" + "\n".join(lines) + "\nenv"
    out = subprocess.run(["env", "-i", "sh", "-ec", script], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def by_environment(text):
    """The address and header of OTEL_* variables, asked for as an SDK does."""
    env = exports(text)
    header = dict(pair.split("=", 1) for pair in urllib.parse.unquote(env["OTEL_EXPORTER_OTLP_HEADERS"]).split(","))
    accepted(env["OTEL_EXPORTER_OTLP_ENDPOINT"], header["authorization"].removeprefix("Bearer "))


def quoted(text):
    """The address and token that a program's source names, which is not compiled here."""
    address = re.search(r'"(http://[^"]+)/v1/traces"', text)[1]
    accepted(address, re.search(r"Bearer (wp_in_[\w-]+)", text)[1])


def curl(server, text):
    before = secrets.token_hex(4)
    shell(text.replace("hello from curl", f"hello {before}"))
    record = server.found("logs", before)[0]
    server.found("traces", f"trace:{record['trace_id']}")


def python(server, text):
    venv = os.environ.get("SDK_PYTHON")
    if not venv:
        by_environment(text)
        return "environment requested"
    name = "py-" + secrets.token_hex(4)
    code = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))\n"
        f"provider.get_tracer('snippet').start_span('{name}').end()\n"
    )
    env = {**os.environ, **exports(text)}
    subprocess.run([venv, "-c", code], check=True, env=env, timeout=60)
    server.found("traces", f"name:{name} service:shop")
    return "SDK run with its environment"


def node(server, text):
    modules = os.environ.get("SDK_NODE")
    if not modules:
        by_environment(text)
        return "environment requested"
    name = "js-" + secrets.token_hex(4)
    code = (
        "const { NodeSDK } = require('@opentelemetry/sdk-node');"
        "const { trace } = require('@opentelemetry/api');"
        "const sdk = new NodeSDK(); sdk.start();"
        f"trace.getTracer('snippet').startSpan('{name}').end();"
        "sdk.shutdown();"
    )
    env = {**os.environ, **exports(text), "NODE_PATH": modules}
    subprocess.run(["node", "-e", code], check=True, env=env, timeout=60)
    server.found("traces", f"name:{name} service:shop")
    return "SDK run with its environment"


def collector(_, text):
    exporter = yaml.safe_load(text)["exporters"]["otlphttp/watchpost"]
    accepted(exporter["endpoint"], exporter["headers"]["authorization"].removeprefix("Bearer "))


def kubernetes(_, text):
    exporter = yaml.safe_load(text)["config"]["exporters"]["otlphttp"]
    accepted(exporter["endpoint"], exporter["headers"]["authorization"].removeprefix("Bearer "))


def promtail(_, text):
    client = yaml.safe_load(text)["clients"][0]
    assert client["url"].endswith("/loki/api/v1/push")
    loki(client["url"], client["bearer_token"])


def vector(_, text):
    sink = tomllib.loads(text)["sinks"]["watchpost"]
    loki(sink["endpoint"], sink["auth"]["token"])


def fluentbit(_, text):
    output = text[text.index("[OUTPUT]"):]
    value = dict(line.split(None, 1) for line in output.splitlines()[1:] if line.strip())
    token = value["Header"].strip().removeprefix("Authorization Bearer ")
    accepted(f"http://{value['Host'].strip()}:{value['Port'].strip()}", token, value["Logs_uri"].strip())


def alloy(_, text):
    assert text.count("{") == text.count("}")
    loki(re.search(r'url = "([^"]+)"', text)[1], re.search(r'bearer_token = "([^"]+)"', text)[1])


def docker(_, text):
    where = urllib.parse.urlsplit(re.search(r'loki-url="([^"]+)"', text)[1])
    address = f"http://{where.hostname}:{where.port}"
    loki(address, where.password)


def grafana(server, text):
    source = yaml.safe_load(text)["datasources"][0]
    assert source["url"] in source["jsonData"]["allowedHosts"]
    assert "services" in json.loads(urllib.request.urlopen(source["url"] + "/api/v1/services").read())


PARSED = "parsed, its address and header requested"
ENVIRONMENT = "environment requested"
SOURCE = "not compiled here, its address and header requested"
TRIED = {
    "curl": (curl, "run as it stands"),
    "python": (python, None),
    "node": (node, None),
    **{name: (lambda _, text: by_environment(text), ENVIRONMENT) for name in ("env", "rust", "go", "java", "dotnet", "fly")},
    **{name: (lambda _, text: quoted(text), SOURCE) for name in ("android", "ios")},
    "browser": (lambda _, text: quoted(text), SOURCE),
    "collector": (collector, "YAML " + PARSED),
    "kubernetes": (kubernetes, "YAML " + PARSED),
    "promtail": (promtail, "YAML " + PARSED),
    "vector": (vector, "TOML " + PARSED),
    "fluentbit": (fluentbit, "lines read, its address and header requested"),
    "alloy": (alloy, "lines read, its address and header requested"),
    "docker": (docker, "its address with the token requested"),
    "grafana": (grafana, "YAML parsed, its address requested"),
}


def main():
    server = Server(sys.argv[1])
    failed = 0
    try:
        snippets = server.snippets()
        assert set(snippets) == set(TRIED), f"not tried or gone: {set(snippets) ^ set(TRIED)}"
        for name, (attempt, how) in TRIED.items():
            try:
                how = attempt(server, snippets[name]) or how
                print(f"ok      {name:<11} {how}")
            except Exception as problem:  # every snippet is told about, whatever is wrong with it
                failed += 1
                print(f"FAILED  {name:<11} {type(problem).__name__}: {problem}")
    finally:
        server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
