//! A source that is told how many records it has and whether it is there, and tells what is asked of it. It shows faults that no real
//! broker can be made to show at a given moment.

use super::*;

/// What the sources of connected streams do in these tests, by the streams' names.
pub(super) static WATCHED: LazyLock<Mutex<HashMap<String, Watched>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Copy, Default)]
pub(super) struct Watched {
    /// Records there are.
    pub(super) records: i64,
    /// Reading them again gives others.
    pub(super) lost: bool,
    /// There is no connection to be had, for a reason that won't pass.
    pub(super) away: bool,
    /// Reading them again waits until this is over.
    pub(super) silent: bool,
    /// What makes rows of them is not what it was.
    pub(super) decodes_otherwise: bool,
    /// How long whoever last read again would have waited for records.
    pub(super) patience: Duration,
}

pub(super) fn watch(stream: &str, watched: Watched) {
    WATCHED.lock().insert(stream.to_string(), watched);
}

pub(super) fn connected(name: &str) -> Relation {
    let mut relation = stream(name);
    if let RelationKind::Stream(stream) = &mut relation.kind {
        stream.connector = Some(Connector { name: "watched".into(), options: Vec::new() });
    }
    relation
}

pub(super) async fn open_watched(folder: &std::path::Path) -> Arc<Engine> {
    let engine = Engine::open(EngineConfig { connect: watched, ..EngineConfig::new(folder) }).expect("opens");
    engine.ready().await.expect("recovers");
    engine
}

struct Records(Arc<Relation>);

impl Records {
    fn watched(&self) -> Watched {
        WATCHED.lock().get(&self.0.name).copied().unwrap_or_default()
    }

    fn fetched(&self, range: Range) -> Fetched {
        let ids: Vec<(i64, &str)> = (range.start..range.next).map(|id| (id, "x")).collect();
        let mut fingerprint = Fingerprint::default();
        ids.iter().for_each(|(id, name)| fingerprint.add(*id, None, Some(name.as_bytes())));
        let Range { partition, start, next } = range;
        Fetched { partition, start, next, rows: batch(&self.0, &ids), dead: Vec::new(), fingerprint }
    }
}

impl Source for Records {
    fn identity(&self) -> Result<String> {
        Ok("records".into())
    }

    fn decoder(&self) -> &'static str {
        if self.watched().decodes_otherwise { "records 2" } else { "records 1" }
    }

    fn start_positions(&self) -> Result<Vec<(i32, i64)>> {
        Ok(vec![(0, 0)])
    }

    fn read(&self, from: Vec<(i32, i64)>, out: ChunkSender, _statuses: Statuses, stop: Stop) -> Result<()> {
        let mut at = from.first().map_or(0, |(_, at)| *at);
        while !stop.stopped() {
            let next = self.watched().records;
            if at < next && out.send(self.fetched(Range { partition: 0, start: at, next })) {
                at = next;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn replay(&self, range: Range, patience: Duration, each: &mut dyn FnMut(Fetched) -> Result<()>) -> Result<()> {
        WATCHED.lock().entry(self.0.name.clone()).or_default().patience = patience;
        while self.watched().silent {
            std::thread::sleep(Duration::from_millis(1));
        }
        let fetched = self.fetched(range);
        match self.watched().lost {
            true => each(Fetched { fingerprint: Fingerprint::default(), ..fetched }),
            false => each(fetched),
        }
    }
}

fn watched(stream: &Relation, _identity: Option<&str>) -> Result<Arc<dyn Source>> {
    let records = Records(Arc::new(stream.clone()));
    match records.watched().away {
        true => Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "it went away")),
        false => Ok(Arc::new(records)),
    }
}
