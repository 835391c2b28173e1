//! Nexmark: how many events a second each query takes in, at which cost, and how soon an event is seen in the answer.
//!
//! ```text
//!   cargo bench --bench nexmark [-- modes=memory,ceilings,kafka queries=q0,q3 events=1000000 workers=2 runs=3 rate=10000 seconds=3]
//! ```
//!
//! | mode       | input |
//! |------------|-------|
//! | `memory`   | the connector `nexmark`'s rows, made before the clock starts; through epochs, epoch log, circuit, as any stream |
//! | `kafka`    | the same events as JSON in a topic of a real broker (Java), four partitions |
//! | `ceilings` | the same topic: a bare consumer; one that decodes all columns; one that decodes two |
//!
//! One JSON line a query and mode: medians of the runs. Each run is a process of its own, so peak memory is the query's
//! (what it grew by from the start of the clock). CPU seconds are the process's, the broker's not included. `p50_ms` and `p99_ms` are
//! the time from produce (or from being handed to the engine) to a reader who sees it, at `rate` events a second.

#[path = "../tests/it/broker.rs"]
#[allow(dead_code)]
mod broker;
#[path = "nexmark/consumer.rs"]
mod consumer;
#[path = "nexmark/events.rs"]
mod events;
#[path = "../tests/it/maven.rs"]
mod maven;
mod measure;
#[path = "nexmark/queries.rs"]
mod queries;
#[path = "nexmark/run.rs"]
mod run;

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use broker::{Broker, Message};
use measure::{Usage, percentile};
use queries::QUERIES;
use run::{Input, Task};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PARTITIONS: i32 = 4;
/// Consumers measured, and what each decodes.
const CEILINGS: [&str; 3] = ["bare consumer", "consumer, decodes all columns", "consumer, decodes two columns"];

struct Options(HashMap<String, String>);

impl Options {
    fn given() -> Options {
        let pairs = std::env::args()
            .filter_map(|argument| argument.split_once('=').map(|(name, value)| (name.to_string(), value.to_string())));
        Options(pairs.collect())
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).cloned().unwrap_or_else(|| default.to_string())
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.0.get(name).map_or(default, |value| value.parse().expect("a number"))
    }

    fn list(&self, name: &str, default: &str) -> Vec<String> {
        self.text(name, default).split(',').map(str::to_string).collect()
    }
}

fn main() {
    let options = Options::given();
    match options.0.get("child").map(String::as_str) {
        None => measure_all(&options),
        Some("ceiling") => ceiling(&options),
        Some(_) => query(&options),
    }
}

fn measure_all(options: &Options) {
    let modes = options.list("modes", "memory,ceilings,kafka");
    let has = |mode: &str| modes.iter().any(|wanted| wanted == mode);
    let names: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
    let wanted = options.list("queries", &names.join(","));
    let input = (has("kafka") || has("ceilings")).then(|| preload(options));
    if has("memory") {
        for query in &wanted {
            runs(options, || vec!["child=query".into(), "mode=memory".into(), format!("query={query}")]);
        }
    }
    let Some((broker, topic)) = &input else { return };
    let place = [format!("brokers={}", broker.address()), format!("topic={topic}")];
    if has("ceilings") {
        for what in CEILINGS {
            let own = ["child=ceiling".into(), "mode=ceiling".into(), format!("query={what}")];
            runs(options, || [own.as_slice(), place.as_slice()].concat());
        }
    }
    if has("kafka") {
        for query in &wanted {
            let own = ["child=query".into(), "mode=kafka".into(), format!("query={query}")];
            runs(options, || {
                let later = [format!("later={}", broker.topic("later", PARTITIONS))];
                [own.as_slice(), place.as_slice(), later.as_slice()].concat()
            });
        }
    }
}

/// A broker with a topic that holds the events.
fn preload(options: &Options) -> (Broker, String) {
    let broker = Broker::start();
    let topic = broker.topic("nexmark", PARTITIONS);
    let (events, rate) = (options.number("events", 1_000_000), options.number("rate", 10_000));
    for first in (0..events).step_by(100_000) {
        let messages = events::messages(first, (events - first).min(100_000), rate);
        let records: Vec<Message<'_>> = messages
            .iter()
            .enumerate()
            .map(|(n, value)| Message { partition: n as i32 % PARTITIONS, value: Some(value), ..Message::default() })
            .collect();
        broker.produce(&topic, &records);
    }
    (broker, topic)
}

/// Runs a child several times and prints the medians.
fn runs(options: &Options, arguments: impl Fn() -> Vec<String>) {
    let mut lines: Vec<serde_json::Map<String, Value>> = Vec::new();
    for _ in 0..options.number("runs", 3) {
        let (own, arguments) = (std::env::current_exe().expect("this program"), arguments());
        let given = options.0.iter().map(|(name, value)| format!("{name}={value}"));
        let child = Command::new(own).args(given).args(&arguments).stderr(Stdio::inherit()).output().expect("a child");
        match serde_json::from_slice(&child.stdout) {
            Ok(Value::Object(line)) => lines.push(line),
            _ => {
                println!(
                    "{}",
                    json!({"bench": "nexmark", "failed": arguments, "said": String::from_utf8_lossy(&child.stdout)})
                );
                return;
            }
        }
    }
    let Some(mut median) = lines.first().cloned() else { return };
    for (name, value) in &mut median {
        let mut values: Vec<f64> = lines.iter().filter_map(|line| line.get(name)?.as_f64()).collect();
        if !values.is_empty() {
            let middle = percentile(&mut values, 0.5);
            *value = if middle.fract() == 0.0 { json!(middle as i64) } else { json!(middle) };
        }
    }
    median.insert("runs".into(), json!(lines.len()));
    println!("{}", Value::Object(median));
}

fn query(options: &Options) {
    let query = options.text("query", "q0");
    let sql = QUERIES.iter().find(|(name, _)| *name == query).map(|(_, sql)| sql.to_string());
    let Some(sql) = sql else {
        println!("there is no query {query}; see benches/nexmark/queries.rs");
        return;
    };
    let (mode, events) = (options.text("mode", "memory"), options.number("events", 1_000_000));
    let input = match mode.as_str() {
        "kafka" => Input::Kafka {
            brokers: options.text("brokers", ""),
            topic: options.text("topic", ""),
            later: options.text("later", ""),
            partitions: PARTITIONS,
        },
        _ => Input::Memory,
    };
    let (workers, rate) = (options.number("workers", 2), options.number("rate", 10_000));
    let task = Task { query, sql, events, workers, rate, seconds: options.number("seconds", 3), input };
    let outcome = match run::run(task.clone()) {
        Ok(outcome) => outcome,
        Err(error) => {
            println!("{error:?}");
            return;
        }
    };
    let line = json!({
        "bench": "nexmark", "query": task.query, "mode": mode, "events": events, "workers": workers,
        "events_per_second": (events as f64 / outcome.seconds).round(),
        "cpu_seconds": round(outcome.cpu_seconds),
        "events_per_cpu_second": (events as f64 / outcome.cpu_seconds).round(),
        "peak_memory_bytes": outcome.peak_memory_bytes, "state_bytes": outcome.state_bytes, "rows": outcome.rows,
        "p50_ms": round(outcome.p50_ms), "p99_ms": round(outcome.p99_ms),
    });
    println!("{line}");
}

fn ceiling(options: &Options) {
    let (what, events) = (options.text("query", ""), options.number("events", 1_000_000));
    let columns = match what.as_str() {
        "consumer, decodes all columns" => Some(events::all_columns()),
        "consumer, decodes two columns" => Some(events::two_columns()),
        _ => None,
    };
    let (before, began) = (Usage::now(), Instant::now());
    let base = Usage::reset_peak();
    let (brokers, topic) = (options.text("brokers", ""), options.text("topic", ""));
    consumer::consume(&brokers, &topic, PARTITIONS, events, columns.as_deref());
    let (seconds, after) = (began.elapsed().as_secs_f64(), Usage::now());
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let line = json!({
        "bench": "nexmark", "query": what, "mode": "ceiling", "events": events,
        "events_per_second": (events as f64 / seconds).round(),
        "cpu_seconds": round(cpu_seconds), "events_per_cpu_second": (events as f64 / cpu_seconds).round(),
        "peak_memory_bytes": after.peak_bytes.saturating_sub(base),
    });
    println!("{line}");
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
