"""Mixed ingest and queries for a while, with retention by bytes at work.

Passes when memory, latency and open files stay flat, disk stays within a tenth of its cap, every record sent
was accepted, and `verify` finds no file that the catalogue does not name.
"""

import argparse
import json
import subprocess
import sys
import time

from server import Server, percentile, push, queries, sample_trace, workplace

MIB = 1 << 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared")
    parser.add_argument("--binary", default="target/release/watchpost")
    parser.add_argument("--loader", default="target/otlpload/release/otlpload")
    parser.add_argument("--corpora", default="corpora-unpacked")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=10_000, help="records per second of each signal")
    parser.add_argument("--cap", type=int, default=256 * MIB, help="retention.max_bytes")
    return parser.parse_args()


class Senders:
    """Pushes each corpus again and again at a rate; counts what was accepted."""

    def __init__(self, options, server):
        self.options, self.server = options, server
        self.sent = {"logs": 0, "traces": 0}
        self.running = {}

    def step(self):
        for signal in self.sent:
            process = self.running.get(signal)
            if process is not None and process.poll() is None:
                continue
            self.collect(signal)
            self.running[signal] = push(
                self.options.loader, f"{self.options.corpora}/{signal}-1m.bin",
                f"{self.server.base}/v1/{signal}", "-c", 2, "--rate", self.options.rate,
                "--limit", self.options.rate * 60,
            )

    def collect(self, signal):
        process = self.running.pop(signal, None)
        if process is None:
            return
        line = json.loads(process.communicate()[0])
        if line["failed"] or line["rejected"]:
            raise SystemExit(f"soak: {signal} lost records: {line}")
        self.sent[signal] += line["accepted"]

    def stop(self):
        for signal in list(self.running):
            self.collect(signal)


def minute(server, asked):
    """Asks everything for a minute; one row of figures."""
    began, times = time.monotonic(), []
    while time.monotonic() - began < 60:
        for _, path in asked:
            times.append(server.timed(path))
        time.sleep(1)
    return {
        "rss": server.status("VmRSS"), "disk": server.disk_bytes() / MIB, "files": server.open_files(),
        "p50": percentile(times, 0.5), "p99": percentile(times, 0.99), "cpu": server.cpu_s(),
    }


def judge(rows, cap):
    """What is wrong with the run: compares its last third with its middle third."""
    third = len(rows) // 3
    if third == 0:
        return []
    middle, last = rows[third:2 * third], rows[-third:]
    worst = lambda part, field: max(row[field] for row in part)
    wrong = []
    if worst(last, "rss") > worst(middle, "rss") * 1.1 + 4:
        wrong.append(f"memory grew: {worst(middle, 'rss'):.0f} -> {worst(last, 'rss'):.0f} MB")
    if worst(last, "p50") > worst(middle, "p50") * 1.5 + 2:
        wrong.append(f"latency grew: {worst(middle, 'p50'):.1f} -> {worst(last, 'p50'):.1f} ms")
    if worst(last, "files") > worst(middle, "files") * 1.2 + 8:
        wrong.append(f"open files grew: {worst(middle, 'files')} -> {worst(last, 'files')}")
    if worst(rows, "disk") > cap / MIB * 1.1:
        wrong.append(f"disk went to {worst(rows, 'disk'):.0f} MiB with a cap of {cap / MIB:.0f} MiB")
    return wrong


def main():
    options = arguments()
    asked = []
    for signal in ("logs", "traces"):
        asked += queries(signal, sample_trace(options.shared, signal))
    with workplace() as place:
        server = Server(options.binary, f"{place}/data", retention__max_bytes=str(options.cap))
        senders, rows = Senders(options, server), []
        try:
            print("minute   RSS MB  disk MiB  files   p50 ms   p99 ms   CPU s")
            while len(rows) < options.minutes:
                senders.step()
                rows.append(minute(server, asked))
                row = rows[-1]
                print(f"{len(rows):6} {row['rss']:8.1f} {row['disk']:9.1f} {row['files']:6} {row['p50']:8.2f} "
                      f"{row['p99']:8.2f} {row['cpu']:7.1f}", flush=True)
            senders.stop()
        finally:
            server.stop()
        verify = subprocess.run([options.binary, "verify", "--data-dir", f"{place}/data"], capture_output=True, text=True)
        wrong = judge(rows, options.cap)
        if verify.returncode != 0:
            wrong.append(f"verify: {verify.stdout}{verify.stderr}")
        print(f"accepted {senders.sent['logs']} logs and {senders.sent['traces']} spans")
        print("verify:", verify.stdout.strip().splitlines()[-1] if verify.stdout.strip() else "nothing said")
        sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
