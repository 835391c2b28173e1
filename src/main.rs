use std::process::ExitCode;

/// One allocator for Rust, RocksDB and librdkafka, so that what is counted is what is used.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    riverrun::cli::main()
}
