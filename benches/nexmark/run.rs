//! One query in a process of its own: an engine with the stream, the views and the query; all events as fast as they are
//! taken in, then a few seconds at a fixed rate.
//!
//! Visible is what a reader sees: next to the query stands a view that counts the stream's events, and since all views of an
//! epoch are seen together, its count says how many events the answer holds.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use riverrun::catalog::{Relation, RelationId};
use riverrun::engine::{Engine, EngineConfig, Waiter};
use riverrun::error::{Error, Result};
use riverrun::ingest::{self, ChunkSender, Fetched, Range, Source, Statuses, Stop};
use riverrun::sql::statement::Statement;
use riverrun::sql::{BindContext, bind, parse};
use tokio::runtime::Runtime;

use crate::events::messages;
use crate::measure::{Usage, percentile};
use crate::queries::{COLUMNS, VIEWS};

/// What is to be run.
#[derive(Clone)]
pub struct Task {
    pub query: String,
    pub sql: String,
    pub events: usize,
    pub workers: usize,
    /// Events a second of event time, and of the second phase.
    pub rate: usize,
    pub seconds: usize,
    pub input: Input,
}

#[derive(Clone)]
pub enum Input {
    /// Native batches made before the clock starts.
    Memory,
    /// A topic that holds the events, and an empty one for those of the paced phase: the first is read again by the next run.
    Kafka { brokers: String, topic: String, later: String, partitions: i32 },
}

/// What came of it.
pub struct Outcome {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub peak_memory_bytes: usize,
    pub state_bytes: usize,
    pub rows: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

const WAITING: u8 = 0;
const ALL: u8 = 1;
const PACED: u8 = 2;
/// How far readers of held sources may go.
static STAGE: AtomicU8 = AtomicU8::new(WAITING);
/// When the events of the paced phase were given, and how many there were by then.
static GIVEN: Mutex<Vec<(Instant, usize)>> = Mutex::new(Vec::new());
static TASK: OnceLock<Task> = OnceLock::new();

/// A source that gives nothing before it is told to. Generated rows are made when it is connected, and given from memory.
struct Held {
    source: Arc<dyn Source>,
    all: Vec<Fetched>,
    paced: Vec<Fetched>,
}

fn connect(stream: &Relation, identity: Option<&str>) -> Result<Arc<dyn Source>> {
    let source = ingest::connect(stream, identity)?;
    let (mut all, mut paced) = (Vec::new(), Vec::new());
    let task = TASK.get().ok_or_else(|| Error::internal("no task"))?;
    // The engine connects twice: to look, and to read.
    if matches!(task.input, Input::Memory) && identity.is_some() {
        let events = task.events as i64;
        source.replay(Range { partition: 0, start: 0, next: events }, Duration::MAX, &mut |fetched| {
            all.push(fetched);
            Ok(())
        })?;
        let tick = (task.rate / 1000).max(1) as i64;
        for start in (events..events + (task.rate * task.seconds) as i64).step_by(tick as usize) {
            source.replay(Range { partition: 0, start, next: start + tick }, Duration::MAX, &mut |fetched| {
                paced.push(fetched);
                Ok(())
            })?;
        }
    }
    Ok(Arc::new(Held { source, all, paced }))
}

fn wait_for(stage: u8) {
    while STAGE.load(Ordering::Acquire) < stage {
        std::thread::sleep(Duration::from_micros(200));
    }
}

impl Source for Held {
    fn identity(&self) -> Result<String> {
        self.source.identity()
    }

    fn decoder(&self) -> &'static str {
        self.source.decoder()
    }

    fn start_positions(&self) -> Result<Vec<(i32, i64)>> {
        self.source.start_positions()
    }

    fn read(&self, from: Vec<(i32, i64)>, out: ChunkSender, statuses: Statuses, stop: Stop) -> Result<()> {
        wait_for(ALL);
        if self.all.is_empty() {
            return self.source.read(from, out, statuses, stop);
        }
        let send = |chunk: &Fetched| out.send(chunk.clone());
        if !self.all.iter().all(send) {
            return Ok(());
        }
        wait_for(PACED);
        let began = Instant::now();
        let mut given = 0;
        for (tick, chunk) in self.paced.iter().enumerate() {
            sleep_until(began + Duration::from_millis(tick as u64));
            given += chunk.rows.num_rows();
            GIVEN.lock().expect("a lock").push((Instant::now(), given));
            if !send(chunk) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn replay(&self, range: Range, patience: Duration, each: &mut dyn FnMut(Fetched) -> Result<()>) -> Result<()> {
        self.source.replay(range, patience, each)
    }
}

fn sleep_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(Instant::now()));
}

pub fn run(task: Task) -> Result<Outcome> {
    let runtime = Runtime::new()?;
    drop(TASK.set(task.clone()));
    let folder = tempfile::tempdir()?;
    let config = EngineConfig { workers: task.workers, connect, ..EngineConfig::new(folder.path()) };
    let engine = Engine::open(config)?;
    let (count, view) = runtime.block_on(set_up(&engine, &task))?;
    let later = match &task.input {
        Input::Memory => Vec::new(),
        Input::Kafka { .. } => messages(task.events, task.rate * task.seconds, task.rate),
    };

    let before = Usage::now();
    let (base, began) = (Usage::reset_peak(), Instant::now());
    STAGE.store(ALL, Ordering::Release);
    while seen(&runtime, &engine, count)? < task.events {
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = began.elapsed().as_secs_f64();
    let used = Usage::now();
    let state_bytes = engine.state_bytes()?.0.values().sum();
    let rows = runtime.block_on(engine.read())?.row_count(view).unwrap_or_default() as usize;

    let mut latencies = paced(&runtime, &engine, count, &task, &later)?;
    runtime.block_on(engine.shutdown());
    Ok(Outcome {
        seconds,
        cpu_seconds: used.cpu_seconds - before.cpu_seconds,
        peak_memory_bytes: used.peak_bytes.saturating_sub(base),
        state_bytes,
        rows,
        p50_ms: percentile(&mut latencies, 0.5),
        p99_ms: percentile(&mut latencies, 0.99),
    })
}

/// Creates everything; gives the view that counts and the query's own.
async fn set_up(engine: &Arc<Engine>, task: &Task) -> Result<(RelationId, RelationId)> {
    engine.ready().await?;
    match &task.input {
        Input::Memory => {
            let options = format!("connector = 'nexmark', \"event.rate\" = '{}'", task.rate);
            create(engine, &format!("CREATE STREAM events ({COLUMNS}) WITH ({options})")).await?;
        }
        Input::Kafka { brokers, topic, later, .. } => {
            for (name, topic) in [("first", topic), ("later", later)] {
                let options = format!("topic = '{topic}', \"bootstrap.servers\" = '{brokers}', format = 'json'");
                create(engine, &format!("CREATE STREAM {name} ({COLUMNS}) WITH (connector = 'kafka', {options})"))
                    .await?;
            }
            create(engine, "CREATE VIEW events AS SELECT * FROM first UNION ALL SELECT * FROM later").await?;
        }
    }
    for view in VIEWS {
        create(engine, view).await?;
    }
    if task.sql.contains("side_input") {
        // Numbers as Nexmark's side input has them; the keys that mod(auction, 10000) meets.
        let numbers = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
        create(
            engine,
            &format!(
                "CREATE VIEW side_input AS SELECT (1000 * a.column1 + 100 * b.column1 + 10 * c.column1 + d.column1)::bigint \
                 AS key, (1000 * a.column1 + d.column1)::text AS value \
                 FROM {numbers} a, {numbers} b, {numbers} c, {numbers} d"
            ),
        )
        .await?;
    }
    create(engine, "CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS events FROM events").await?;
    create(engine, &format!("CREATE MATERIALIZED VIEW answer AS {}", task.sql)).await?;
    let catalog = engine.catalog();
    let id = |name: &str| catalog.get("public", name).map(|relation| relation.id);
    id("seen").zip(id("answer")).ok_or_else(|| Error::internal("views are not there"))
}

async fn create(engine: &Arc<Engine>, text: &str) -> Result<()> {
    let context = BindContext::new(engine.catalog());
    let parsed = parse::parse(text)?.into_iter().next().ok_or_else(|| Error::internal("no statement"))?;
    let relation = match parsed.statement {
        Statement::CreateStream(create) => bind::bind_create_stream(&context, &create)?,
        Statement::CreateView(create) => bind::bind_create_view(&context, &create)?.map(|view| view.relation),
        other => return Err(Error::internal(format!("not expected here: {}", other.tag()))),
    };
    let relation = relation.ok_or_else(|| Error::internal("it exists"))?;
    engine.create(relation, false, Waiter::default()).await.map(drop)
}

/// How many events a reader sees.
fn seen(runtime: &Runtime, engine: &Engine, count: RelationId) -> Result<usize> {
    let view = runtime.block_on(engine.read())?;
    if let Some(error) = engine.failed().values().next() {
        return Err(error.clone());
    }
    let rows = view.scan(count)?.collect::<Result<Vec<_>>>()?;
    let number =
        rows.iter().find(|rows| rows.num_rows() > 0).map(|rows| rows.column(0).as_primitive::<Int64Type>().value(0));
    Ok(number.unwrap_or_default() as usize)
}

/// Milliseconds from the moment an event was given, or produced, to the moment a reader sees it, for every event of the paced phase.
fn paced(runtime: &Runtime, engine: &Engine, count: RelationId, task: &Task, later: &[Vec<u8>]) -> Result<Vec<f64>> {
    let total = task.rate * task.seconds;
    let mut latencies = Vec::with_capacity(total);
    std::thread::scope(|scope| {
        STAGE.store(PACED, Ordering::Release);
        if let Input::Kafka { brokers, later: topic, partitions, .. } = &task.input {
            scope.spawn(move || produce(brokers, topic, *partitions, task.rate, later));
        }
        let (mut given, mut at) = (Vec::new(), 0);
        while latencies.len() < total {
            std::thread::sleep(Duration::from_micros(200));
            let visible = seen(runtime, engine, count)? - task.events;
            let now = Instant::now();
            given.append(&mut GIVEN.lock().expect("a lock"));
            while latencies.len() < visible {
                let Some((time, by_then)) = given.get(at) else { break };
                let shown = visible.min(*by_then);
                latencies.resize(shown, now.duration_since(*time).as_secs_f64() * 1000.0);
                if shown == *by_then {
                    at += 1;
                }
            }
        }
        Ok(latencies)
    })
}

fn produce(brokers: &str, topic: &str, partitions: i32, rate: usize, messages: &[Vec<u8>]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("linger.ms", "0");
    let producer: BaseProducer = config.create().expect("a producer");
    producer.client().fetch_metadata(Some(topic), Duration::from_secs(10)).expect("the topic");
    let began = Instant::now();
    let mut given = 0;
    // A request every few milliseconds: this is no test of how many requests a broker can take.
    const TICK: usize = 5;
    for (tick, messages) in messages.chunks((rate * TICK / 1000).max(1)).enumerate() {
        sleep_until(began + Duration::from_millis((tick * TICK) as u64));
        given += messages.len();
        GIVEN.lock().expect("a lock").push((Instant::now(), given));
        for message in messages {
            let record = BaseRecord::<[u8], [u8]>::to(topic).partition(tick as i32 % partitions).payload(message);
            producer.send(record).map_err(|(error, _)| error).expect("producing");
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(30)).expect("flushing");
}
