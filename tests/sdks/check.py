"""Finds again, by the API, what the SDKs sent.

usage: check.py HTTP_ADDRESS < "<service> <trace id>" lines
Fails on the first item that is not there as it was sent.
"""

import json
import sys
import urllib.parse
import urllib.request


def get(address, path, **query):
    url = f"http://{address}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def check(address, service, trace_id):
    trace = get(address, f"/api/v1/traces/{trace_id}")
    spans = [
        span
        for resource in trace["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    names = {span["name"] for span in spans}
    assert {"POST /checkout", "charge card"} <= names, (service, names)
    charge = next(span for span in spans if span["name"] == "charge card")
    assert charge["status"]["code"] == 2, charge
    assert charge["events"][0]["name"] == "exception", charge

    logs = get(address, "/api/v1/logs", query=f"service:{service}", start="now-1h", end="now")["records"]
    assert len(logs) == 2, (service, logs)
    assert {record["trace_id"] for record in logs} == {trace_id}, (service, logs)
    assert {record["severity"] for record in logs} == {"INFO", "ERROR"}, (service, logs)
    by_trace = get(address, "/api/v1/logs", query=f"trace:{trace_id}", start="now-1h", end="now")["records"]
    assert len(by_trace) == 2, (service, by_trace)
    found = get(address, "/api/v1/traces", query=f"service:{service} status:error", start="now-1h", end="now")["traces"]
    assert [row["trace_id"] for row in found] == [trace_id], (service, found)


def main():
    address = sys.argv[1]
    lines = [line.split() for line in sys.stdin if line.strip()]
    for service, trace_id in lines:
        check(address, service, trace_id)
        print(f"ok {service}: trace {trace_id}, 2 log lines")
    print(f"{len(lines)} passed, 0 failed")


main()
