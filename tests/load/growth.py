"""How the cost of each question grows with data, and with readers while ingest runs at half speed.

Pushes a corpus again and again, each time behind the one before on a clock that is moved along, asks the
questions of docs/performance.md at every size, of the newest corpus and of all there is, then asks them from
1, 8 and 64 readers at once beside a half-speed push.
"""

import argparse
import json
import re
import threading
import time

from server import (
    Clock, Server, corpus_seconds, percentile, push, queries, sample_trace, with_other_traces, workplace,
)

READERS = (1, 8, 64)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared")
    parser.add_argument("signal", choices=["logs", "traces"])
    parser.add_argument("--binary", default="target/release/watchpost")
    parser.add_argument("--loader", default="target/otlpload/release/otlpload")
    parser.add_argument("--corpora", default="corpora-unpacked")
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10, help="how long each number of readers asks")
    return parser.parse_args()


def ask(server, asked, repeat, seconds):
    """Each question of the newest `seconds`, and of everything: more slowly, so less often."""
    print(f"{'':28} {'newest corpus':>19} {'everything':>19}")
    print(f"{'question':28}" + f" {'p50 ms':>9} {'p99 ms':>9}" * 2)
    for name, path in asked:
        figures = []
        for since, times in ((f"now-{int(seconds)}s", repeat), ("now-90d", max(repeat // 4, 3))):
            path_since = re.sub(r"start=now-\w+", f"start={since}", path)
            took = [server.timed(path_since) for _ in range(times)]
            figures += [percentile(took, 0.5), percentile(took, 0.99)]
        print(f"{name:28}" + "".join(f" {figure:9.2f}" for figure in figures), flush=True)


def readers(server, asked, count, seconds):
    """Milliseconds per question from `count` readers in a loop; a 429 is counted, not timed."""
    until, times, refused, lock = time.monotonic() + seconds, [], [0], threading.Lock()

    def read(offset):
        n = offset
        while time.monotonic() < until:
            try:
                took = server.timed(asked[n % len(asked)][1])
                with lock:
                    times.append(took)
            except OSError:
                with lock:
                    refused[0] += 1
            n += 1

    threads = [threading.Thread(target=read, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, refused[0]


def main():
    options = arguments()
    asked = queries(options.signal, sample_trace(options.shared, options.signal))
    corpus, signal = f"{options.corpora}/{options.signal}-1m.bin", options.signal
    period, total = corpus_seconds(options.loader, corpus), max(options.millions)
    with workplace() as place:
        clock = Clock(place)
        clock.move(-total * period)
        server = Server(options.binary, f"{place}/data", clock, retention__logs="90d", retention__traces="90d")
        url = f"{server.base}/v1/{signal}"
        try:
            pushed, speed = 0, []
            for millions in options.millions:
                while pushed < millions:
                    pushed += 1
                    clock.move((pushed - total) * period)
                    copy = corpus
                    if signal == "traces" and pushed > 1:
                        copy = f"{place}/copy.bin"
                        with_other_traces(corpus, pushed - 1, copy)
                    sender = push(options.loader, copy, url, "-c", 4, clock=clock)
                    speed.append(json.loads(sender.communicate()[0])["records_per_s"])
                time.sleep(15)
                print(f"== {millions} M {signal}: {server.disk_bytes(signal) / millions / 1e6:.1f} B per record, "
                      f"RSS {server.status('VmRSS'):.0f} MB, peak {server.status('VmHWM'):.0f} MB, "
                      f"CPU {server.cpu_s() / millions:.2f} s per 1M")
                ask(server, asked, options.repeat, period)
            half = int(percentile(speed, 0.5) / 2)
            print(f"== readers beside ingest at {half} records/s")
            for count in READERS:
                sender = push(options.loader, corpus, url, "-c", 4, "--rate", half,
                              "--limit", int(half * options.seconds), clock=clock)
                times, refused = readers(server, asked, count, options.seconds)
                line = json.loads(sender.communicate()[0])
                print(f"{count:3} readers: {len(times) / options.seconds:8.0f} answers/s, p50 {percentile(times, 0.5):8.2f} ms, "
                      f"p99 {percentile(times, 0.99):8.2f} ms, refused {refused}; ingest "
                      f"{line['records_per_s'] / half:.2f} of what was asked", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
