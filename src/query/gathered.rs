//! Batches that are gathered, in the memory that all queries share: 53200 when there is no more of it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

use super::execution;
use crate::delta::size::bytes_of;
use crate::error::Result;

pub struct Gathered {
    batches: Vec<RecordBatch>,
    rows: usize,
    reservation: MemoryReservation,
}

impl Gathered {
    /// `what`: for the error.
    pub fn new(what: &str) -> Result<Gathered> {
        Ok(Gathered::within(execution::memory()?, what))
    }

    fn within(pool: &Arc<dyn MemoryPool>, what: &str) -> Gathered {
        Gathered { batches: Vec::new(), rows: 0, reservation: MemoryConsumer::new(what).register(pool) }
    }

    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.reservation.try_grow(bytes_of(batch.columns(), 0, batch.num_rows()))?;
        self.rows += batch.num_rows();
        self.batches.push(batch);
        Ok(())
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The batches; their memory is not counted any more.
    pub fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;
    use crate::error::SqlState;

    #[test]
    fn more_than_the_pool_has_is_an_error() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let mut gathered = Gathered::within(&pool, "rows");
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        gathered.push(batch.clone()).unwrap();
        gathered.push(batch.clone()).unwrap();
        assert_eq!((gathered.rows(), pool.reserved()), (100, 800));
        assert_eq!(gathered.push(batch).unwrap_err().state(), SqlState::OUT_OF_MEMORY);
        assert_eq!(gathered.into_batches().len(), 2);
        assert_eq!(pool.reserved(), 0);
    }
}
