"""Starts the release binary on a data directory of its own, and measures it from outside."""

import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """A wall clock for processes started with `env`; it can be moved while they run (clock.c)."""

    def __init__(self, place):
        library, self.file = f"{place}/clock.so", f"{place}/clock"
        source = pathlib.Path(__file__).parent / "clock.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self.move(0)
        self.env = {"LD_PRELOAD": library, "SHIFTED_CLOCK": self.file}

    def move(self, seconds):
        """Sets how far it is from the real one."""
        with open(self.file, "r+b" if os.path.exists(self.file) else "wb") as file:
            file.write(struct.pack("=q", int(seconds)))


class Server:
    """One running watchpost; `data` is its data directory."""

    def __init__(self, binary, data, clock=None, **settings):
        self.data = pathlib.Path(data)
        self.log = open(self.data.with_suffix(".log"), "wb")
        env = dict(os.environ, **{f"WATCHPOST_{k.upper()}": v for k, v in settings.items()})
        env.update(clock.env if clock else {})
        self.process = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0", "--otlp-grpc-listen", "off", "--otlp-http-listen", "off",
             "--data-dir", str(self.data)],
            stdout=subprocess.PIPE, stderr=self.log, env=env, text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("ready http="):
            raise SystemExit(f"the server did not start; see {self.data.with_suffix('.log')}")
        self.base = "http://" + line.split()[1].removeprefix("http=")

    @property
    def pid(self):
        return self.process.pid

    def status(self, field):
        """A field of /proc/PID/status in MB."""
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1000
        raise KeyError(field)

    def cpu_s(self):
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def disk_bytes(self, below=""):
        total = 0
        for root, _, names in os.walk(self.data / below):
            for name in names:
                try:
                    total += os.stat(os.path.join(root, name)).st_size
                except FileNotFoundError:
                    pass
        return total

    def get(self, path, timeout=60):
        with urllib.request.urlopen(self.base + path, timeout=timeout) as answer:
            return answer.read()

    def timed(self, path):
        """Milliseconds of one GET; that a trace is not there (any more) is an answer too."""
        began = time.perf_counter()
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        return (time.perf_counter() - began) * 1000

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()


def queries(signal_name, trace):
    """The (name, path) pairs that docs/performance.md reports for a signal."""
    file = pathlib.Path(__file__).parent.parent / "corpora" / f"queries-{signal_name}.txt"
    rows = []
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            name, path = line.split("\t")
            rows.append((name, path.replace("${trace}", trace).replace(" ", "%20").replace('"', "%22").replace(">", "%3E")))
    return rows


def sample_trace(shared, signal_name):
    """A trace id that the corpus holds."""
    facts = json.load(open(f"{shared}/corpora/{signal_name}-1m.bin.facts.json"))
    first = facts["trace_ids"][3]
    return first if isinstance(first, str) else first["trace_id"]


def push(loader, corpus, url, *options, clock=None):
    """Starts the loader on a corpus; `.communicate()` gives its one line of JSON."""
    return subprocess.Popen(
        [loader, "push", "--corpus", corpus, "--url", url, "--shift-to-now", *map(str, options)],
        stdout=subprocess.PIPE, text=True, env=dict(os.environ, **(clock.env if clock else {})),
    )


SPAN_IDS = re.compile(rb"\x0a\x10(.{16})\x12\x08", re.DOTALL)


def with_other_traces(corpus, number, to):
    """Writes a corpus of spans whose traces have other ids: pushed again as it is, the copies would be one trace.

    A span begins with its trace id (field 1, 16 bytes) and its span id (field 2, 8 bytes).
    """
    content = bytearray(open(corpus, "rb").read())
    for found in SPAN_IDS.finditer(bytes(content)):
        at = found.start(1)
        content[at] ^= number & 0xFF
        content[at + 1] ^= number >> 8
    with open(to, "wb") as file:
        file.write(content)


def corpus_seconds(loader, corpus):
    """How much time the records of a corpus cover."""
    line = subprocess.run([loader, "info", corpus], capture_output=True, text=True, check=True)
    facts = json.loads(line.stdout.splitlines()[0])
    return (facts["end_ns"] - facts["start_ns"]) / 1e9


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def workplace():
    """A directory that goes away with the object."""
    return tempfile.TemporaryDirectory(prefix="watchpost-load-")
