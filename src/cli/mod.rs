//! The process: arguments and configuration.
#![allow(dead_code)]
mod config;
mod log;
pub use config::{Arguments, Config};

pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
