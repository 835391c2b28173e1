//! Joins over 5 M events in steps of 10 k: bids joined to their auctions as both arrive (1 auction : 15 bids, as Nexmark
//! has it), inner, left outer and semi, append-only and with row indexes; arranging and joining in one thread.
//!
//! ```text
//!   cargo bench --bench joins [-- EVENTS STEP]        defaults 5000000 10000
//! ```
//!
//! Prints one JSON line a join: events a second, of which arranging took how much, output rows, bytes of state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use riverrun::delta::Delta;
use riverrun::operators::arrange::{Arrange, Arranged};
use riverrun::operators::join::Join;
use riverrun::operators::outer_join::OuterJoin;
use riverrun::operators::semi_join::{SemiJoin, SemiSpec};
use riverrun::operators::spec::SemiKind;
use riverrun::operators::{Operator, Progress, RowErrors, Step};

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, ty): &(&str, DataType)| Field::new(*name, ty.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn bids() -> SchemaRef {
    schema(&[("auction", DataType::Int64), ("bidder", DataType::Int64), ("price", DataType::Int64)])
}

fn auctions() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("seller", DataType::Int64), ("item", DataType::Utf8)])
}

/// One step's auctions and bids; a bid is for one of the newest 10,000 auctions.
fn events(random: &mut StdRng, first_auction: i64, events: usize) -> (Delta, Delta) {
    let made = events / 16;
    let ids = first_auction..first_auction + made as i64;
    let item = StringArray::from_iter_values(ids.clone().map(|id| format!("item number {id}")));
    let seller = Int64Array::from_iter_values(ids.clone().map(|id| id % 1000));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(ids.clone())), Arc::new(seller), Arc::new(item)];
    let auction = RecordBatch::try_new(auctions(), columns).expect("columns of the schema");
    let count = events - made;
    let auctions_of_bids = (0..count).map(|_| random.random_range((ids.end - 10_000).max(0)..ids.end));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(auctions_of_bids)),
        Arc::new(Int64Array::from_iter_values((0..count).map(|bid| bid as i64 % 997))),
        Arc::new(Int64Array::from_iter_values((0..count).map(|bid| bid as i64))),
    ];
    let bid = RecordBatch::try_new(bids(), columns).expect("columns of the schema");
    (Delta::insertions(bid), Delta::insertions(auction))
}

fn run(
    name: &str,
    append_only: bool,
    total: usize,
    step_rows: usize,
    make: &dyn Fn(Arranged, Arranged) -> Box<dyn Operator>,
) {
    let mut left = Arrange::new(&bids(), &[0], append_only).expect("an arrangement");
    let mut right = Arrange::new(&auctions(), &[0], append_only).expect("an arrangement");
    let mut join = make(left.arranged(), right.arranged());
    let mut random = StdRng::seed_from_u64(1);
    let (mut arranging, mut joining) = (Duration::ZERO, Duration::ZERO);
    let (mut version, mut auction, mut rows) = (0, 0, 0);
    for _ in 0..total / step_rows {
        let (bid, auctions) = events(&mut random, auction, step_rows);
        auction += auctions.len() as i64;
        version += 1;
        let (mut bids_out, mut auctions_out, mut out) = (Vec::new(), Vec::new(), Vec::new());
        let mut errors = RowErrors::default();
        let start = Instant::now();
        for (arrange, delta, passed) in [(&mut left, bid, &mut bids_out), (&mut right, auctions, &mut auctions_out)] {
            let mut step = step(version, passed, &mut errors);
            arrange.step(&[&[delta]], &mut step).expect("arrange");
        }
        arranging += start.elapsed();
        let start = Instant::now();
        let mut given: [&[Delta]; 2] = [&bids_out, &auctions_out];
        while join.step(&given, &mut step(version, &mut out, &mut errors)).expect("join") == Progress::More {
            given = [&[], &[]];
        }
        joining += start.elapsed();
        rows += out.iter().map(Delta::len).sum::<usize>();
    }
    let time = (arranging + joining).as_secs_f64();
    let bytes = left.state_bytes() + right.state_bytes() + join.state_bytes();
    println!(
        "{{\"bench\":\"joins\",\"join\":\"{name}\",\"append_only\":{append_only},\"events\":{total},\"step\":{step_rows},\
         \"seconds\":{time:.3},\"arranging\":{:.3},\"m_events_per_s\":{:.2},\"rows_out\":{rows},\"state_bytes\":{bytes}}}",
        arranging.as_secs_f64(),
        total as f64 / time / 1e6,
    );
}

fn step<'a>(version: u64, out: &'a mut Vec<Delta>, errors: &'a mut RowErrors) -> Step<'a> {
    Step { before: version - 1, after: version, oldest: version - 1, end_of_epoch: true, now: 0, out, errors }
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let argument = |place: usize, default: usize| numbers.get(place).copied().unwrap_or(default);
    let (total, step_rows) = (argument(0, 5_000_000), argument(1, 10_000));
    let both = schema(&[
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Int64),
        ("id", DataType::Int64),
        ("seller", DataType::Int64),
        ("item", DataType::Utf8),
    ]);
    for append_only in [true, false] {
        run("inner", append_only, total, step_rows, &|l, r| Box::new(Join::new(l, r, None, false, &both)));
    }
    run("left outer", false, total, step_rows, &|l, r| {
        Box::new(OuterJoin::new(l, r, [true, false], None, false, &both).expect("a join"))
    });
    run("semi", false, total, step_rows, &|l, r| {
        let spec = SemiSpec { kind: SemiKind::Semi, filter: None, null_aware: false, null_equals_null: false };
        Box::new(SemiJoin::new(l, r, spec, &bids()).expect("a join"))
    });
}
