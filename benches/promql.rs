//! What queries over 1,000 counters of six hours cost, a step every 15 s; series are in memory, so
//! this is the engine alone. `cargo bench --features internals --bench promql`

use watchpost::internals::PromqlBed;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: usize = 1_000;

fn main() {
    divan::main();
}

#[divan::bench(args = [
    "sum(rate(cpu_seconds_total[5m]))",
    "sum by (instance) (rate(cpu_seconds_total[5m]))",
    "rate(cpu_seconds_total[5m])",
    "max_over_time(cpu_seconds_total[1h])",
    "avg_over_time(cpu_seconds_total[5m])",
    "topk(5, rate(cpu_seconds_total[5m]))",
])]
fn range(bencher: divan::Bencher<'_, '_>, query: &str) {
    let bed = PromqlBed::new(SERIES);
    bencher.bench(|| bed.run(query));
}
