//! Reads: running bound queries with DataFusion over one epoch's state, point lookups, the rows of the system relations;
//! and the jobs of INSERT, UPDATE, DELETE, which are queries with a write at the end.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;

use crate::engine::ReadView;
use crate::error::Result;
use crate::sql::BoundQuery;

/// Values of $1, $2, ..., each of the type the bound statement gives it.
pub type Parameters = Arc<[ScalarValue]>;

/// Runs a query over a read view. Batches come as they are made; dropping the stream stops the work.
pub fn run(_query: &BoundQuery, _parameters: &Parameters, _view: ReadView) -> Result<SendableRecordBatchStream> {
    Err(crate::error::Error::internal("not built yet"))
}
