//! CPU time and memory of this process, and percentiles.

use std::fs;

/// As of one moment.
pub struct Usage {
    pub cpu_seconds: f64,
    /// The most memory resident so far, or since [`Usage::reset_peak`].
    pub peak_bytes: usize,
}

impl Usage {
    pub fn now() -> Usage {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock exists on every Linux, and `time` is ours.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
        Usage { cpu_seconds: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9, peak_bytes: status("VmHWM:") }
    }

    /// Starts the peak anew and gives what is resident now.
    pub fn reset_peak() -> usize {
        // Without the right to do so the peak is that of the whole life, which is no less.
        let _ = fs::write("/proc/self/clear_refs", "5");
        status("VmRSS:")
    }
}

fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or_default() * 1024
}

/// The value below which this part of them lies.
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len().max(1) - 1) as f64 * part) as usize).copied().unwrap_or_default()
}
