"""Compares the server's answers about a pushed corpus with the corpus' true counts.

usage: check.py ADDRESS logs-1m|traces-1m FACTS.json PUSH.json CORPUS.bin
Prints every comparison; ends with `N passed, M failed` and fails if M > 0.
"""

import hashlib
import json
import mmap
import re
import struct
import sys
import urllib.parse
import urllib.request

RANGE = {"start": "now-2d", "end": "now"}
outcome = {"passed": 0, "failed": 0}


def get(address, path, **query):
    url = f"http://{address}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def same(what, got, want):
    outcome["passed" if got == want else "failed"] += 1
    print(f"{'ok  ' if got == want else 'FAIL'} {what}: {got}" + ("" if got == want else f", expected {want}"))


def fields(data, at, end):
    """Number and place of each length-delimited field of a protobuf message."""

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < end:
        key = varint()
        kind = key & 7
        if kind == 0:
            varint()
        elif kind == 2:
            length = varint()
            yield key >> 3, at, at + length
            at += length
        else:
            at += {1: 8, 5: 4}[kind]


def within(data, at, end, path):
    """The places of all messages below `path`, a list of field numbers."""
    for number, start, stop in fields(data, at, end):
        if number == path[0]:
            if len(path) == 1:
                yield start, stop
            else:
                yield from within(data, start, stop, path[1:])


def add(total, body):
    """The sum over all bodies says nothing of their order, and everything of their bytes."""
    digest = hashlib.blake2b(body, digest_size=8).digest()
    return total[0] + 1, (total[1] + int.from_bytes(digest, "little")) % 2**64


def bodies_sent(corpus_file):
    """Number and checksum of the text bodies in the corpus."""
    total = (0, 0)
    with open(corpus_file, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 1024
        while at < len(data):
            length, _, _, encoding = struct.unpack_from("<4I", data, at)
            assert encoding == 0, "frames of the corpus are compressed"
            frame = data[at + 16 : at + 16 + length]
            for start, stop in within(frame, 0, length, [1, 2, 2, 5, 1]):
                total = add(total, frame[start:stop])
            at += 16 + length
    return total


def bodies_kept(address):
    """The same of what the server has."""
    total, cursor = (0, 0), None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = get(address, "/api/v1/logs", query="", limit=10000, format="otlp", **RANGE, **more)
        for group in page.get("resourceLogs", []):
            for scope in group["scopeLogs"]:
                for record in scope["logRecords"]:
                    body = record.get("body", {}).get("stringValue")
                    if body is not None:
                        total = add(total, body.encode())
        cursor = page["next"]
        if not cursor:
            return total


def check_patterns(address, facts):
    found = get(address, "/api/v1/logs/patterns", limit=1000, **RANGE)
    same("records over all patterns", found["total"], facts["header"]["records"])
    same("the answer is whole", found["stats"]["truncated"], False)
    for pattern in found["patterns"][:5]:
        counted = get(address, "/api/v1/logs/histogram", query=f"pattern:{pattern['id']}", buckets=1, **RANGE)
        # Of texts that are rare in their head the same pattern may be in plain bodies.
        same(f"lines of {pattern['template'][:40]!r}", counted["total"] >= pattern["count"] > 0, True)
        same("... over time", sum(pattern["buckets"]), pattern["count"])
        same("... by level", sum(pattern["levels"].values()), pattern["count"])


def check_logs(address, facts, corpus_file):
    def count(query):
        return get(address, "/api/v1/logs/histogram", query=query, by="severity", buckets=1, **RANGE)

    everything = count("")
    same("all records", everything["total"], facts["header"]["records"])
    by_level = {}
    for bucket in everything["buckets"]:
        for level, n in bucket["by"].items():
            by_level[level] = by_level.get(level, 0) + n
    same("records per level", {k: v for k, v in by_level.items() if v}, facts["severities"])
    for word, lines in facts["lines_containing"].items():
        same(f"lines matching /{word}/", count(f"/{word}/")["total"], lines)
    for service, lines in list(facts["services"].items()):
        same(f"lines of {service}", count(f'service:"{service}"')["total"], lines)
    same("records with a trace id", count("trace:*")["total"], facts["with_trace_id"])
    for sample in facts["samples"][:5]:
        phrase = sample["body"].replace("\\", "\\\\").replace('"', '\\"')
        found = get(address, "/api/v1/logs", query=f'"{phrase}"', limit=5, **RANGE)["records"]
        same(f"a line of {sample['service']} found by its text", sample["body"] in [r["body"] for r in found], True)
    for trace_id in facts["trace_ids"][:5]:
        records = get(address, "/api/v1/logs", query=f"trace:{trace_id}", limit=500, **RANGE)["records"]
        same(f"logs of trace {trace_id[:8]}", bool(records) and {r["trace_id"] for r in records} == {trace_id}, True)
    check_patterns(address, facts)
    # From heads, fresh segments and merged ones alike.
    same("number and checksum of all bodies", bodies_kept(address), bodies_sent(corpus_file))


def distinct_traces(corpus_file):
    """Trace ids in the corpus itself: the facts count a trace again in each round that repeats it."""
    with open(corpus_file, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # Span fields 1 and 2: a trace id of 16 bytes, a span id of 8.
        return len({found.group(1) for found in re.finditer(rb"\x0a\x10(.{16})\x12\x08", data, re.DOTALL)})


def check_traces(address, facts, corpus_file):
    traces, spans, errors, cursor = set(), 0, 0, None
    while True:
        page = get(address, "/api/v1/traces", query="", limit=500, **RANGE, **({"cursor": cursor} if cursor else {}))
        for row in page["traces"]:
            traces.add(row["trace_id"])
            spans += row["span_count"]
            errors += row["error_count"]
        cursor = page["next"]
        if not cursor:
            break
    same("traces listed", len(traces), distinct_traces(corpus_file))
    same("spans of the listed traces", spans, facts["header"]["records"])
    same("error spans of the listed traces", errors, facts["error_spans"])
    for known in facts["trace_ids"][:10]:
        document = get(address, f"/api/v1/traces/{known['trace_id']}")
        n = sum(len(s["spans"]) for r in document["resourceSpans"] for s in r["scopeSpans"])
        same(f"spans of trace {known['trace_id'][:8]}", n, known["spans"])
    found = get(address, "/api/v1/traces", query="duration:>10s", limit=500, **RANGE)["traces"]
    same("a search for slow spans finds traces", len(found) > 0, True)


def main():
    address, corpus, facts_file, push_file, corpus_file = sys.argv[1:]
    with open(facts_file, encoding="utf-8") as file:
        facts = json.load(file)
    with open(push_file, encoding="utf-8") as file:
        push = json.loads(file.read().splitlines()[-1])
    same("records accepted", push["accepted"], facts["header"]["records"])
    same("records rejected or failed", push["rejected"] + push["failed"], 0)
    if corpus == "logs-1m":
        check_logs(address, facts, corpus_file)
    else:
        check_traces(address, facts, corpus_file)
    print(f"{outcome['passed']} passed, {outcome['failed']} failed")
    sys.exit(1 if outcome["failed"] else 0)


main()
