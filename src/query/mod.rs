//! Reads: running bound queries with DataFusion over one epoch's state, point lookups, the rows of the system relations; and
//! the jobs of INSERT, UPDATE, DELETE, which are queries with a write at the end.
//!
//! | file            | what it does |
//! |-----------------|--------------|
//! | `run.rs`        | a bound query and a read view in, a stream of batches out |
//! | `optimize.rs`   | parameters put in, DataFusion's rules over a plan that is fully typed already |
//! | `row_counts.rs` | LIMIT and OFFSET that are not constants, as numbers |
//! | `outer_joins.rs` | what DataFusion may not believe of rows that found no partner |
//! | `sorted_windows.rs` | windows' sorts that DataFusion leaves out |
//! | `forgets.rs`    | the node that hides what is believed of the rows below |
//! | `physical_rules.rs` | which rules make a plan that runs |
//! | `subquery.rs`   | subqueries that no join can stand for: run for each outer row |
//! | `long_constants.rs` | projections of long constants get their rows in pieces |
//! | `remembered.rs` | answers kept within the shared memory |
//! | `gathered.rs`   | batches gathered within the shared memory |
//! | `provider.rs`   | scans: a relation's rows from the view, key equality by lookup |
//! | `skipping.rs`   | which chunks a scan need not read |
//! | `keys.rs`       | which filters say "these keys" |
//! | `point.rs`      | `SELECT columns FROM rel WHERE key = $1` without any of the above |
//! | `constant.rs`   | expressions over constant rows and over rows at hand |
//! | `complete.rs`   | stored rows from some columns' values: COPY |
//! | `execution.rs`  | the one session state, memory pool and thread pool that all queries share |
//! | `write.rs`      | INSERT, UPDATE, DELETE, TRUNCATE, COPY as jobs of the write order |
//! | `explain.rs`    | EXPLAIN: the plan of a read as text or JSON |
//! | `show.rs`       | SHOW, DESCRIBE |
//! | `system/`       | rows of `pg_catalog`, `information_schema`, `rr_catalog` |

mod complete;
mod constant;
mod execution;
pub mod explain;
mod forgets;
mod gathered;
mod keys;
mod lateral;
mod long_constants;
mod optimize;
mod outer_joins;
mod over_rows;
mod physical_rules;
mod point;
mod provider;
mod remembered;
mod row_counts;
mod run;
mod series;
pub mod show;
mod skipping;
mod sorted_windows;
#[cfg(test)]
mod sql_tests;
mod stop;
mod subquery;
pub mod system;
#[cfg(test)]
mod testing;
pub mod write;

use std::sync::Arc;

use datafusion::scalar::ScalarValue;

pub use complete::CompleteRows;
pub use constant::{are_values, values as constant_values};
pub use execution::{memory_used, running, set_batch_rows, set_memory_limit};
pub use run::{collect, run, run_each_row, run_quick, run_with};
pub use stop::{GivenUp, until};
pub use system::RuntimeFacts;

/// Values of $1, $2, ..., each of the type the bound statement gives it.
pub type Parameters = Arc<[ScalarValue]>;
