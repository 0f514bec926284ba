//! The progress bar: rate, time to go, and the number that matters.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on a terminal, a line now and then anywhere else.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: String,
    unit: &'static str,
    started: Instant,
    first: u64,
    said: Instant,
    total: u64,
    at: u64,
}

const LINE_EVERY: Duration = Duration::from_secs(20);

impl Progress {
    /// A bar of `total` units (`images`, `iterations`), `done` of which an earlier process did.
    #[must_use]
    pub fn new(what: &str, unit: &'static str, done: u64, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4));
        let template = "{prefix} [{bar:30}] {pos}/{len} {per_sec} eta {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        bar.set_position(done);
        bar.reset_eta();
        let now = Instant::now();
        Self {
            bar,
            what: what.to_owned(),
            unit,
            started: now,
            first: done,
            said: now,
            total,
            at: done,
        }
    }

    /// Advances to `done` units and shows `message`.
    pub fn update(&mut self, done: u64, message: &str) {
        self.at = done;
        if !self.bar.is_hidden() {
            self.bar.set_position(done);
            self.bar.set_message(message.to_owned());
        } else if self.said.elapsed() > LINE_EVERY || done == self.total {
            self.said = Instant::now();
            let rate = self.rate();
            let left = (self.total.saturating_sub(done)) as f64 / rate.max(1e-9);
            say(&format!(
                "{}: {done}/{} {}, {rate:.1}/s, {} to go, {message}",
                self.what,
                self.total,
                self.unit,
                hours(left)
            ));
        }
    }

    /// Prints a line without breaking the bar.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            say(line);
        } else {
            self.bar.println(line);
        }
    }

    /// Units a second since this process began.
    #[must_use]
    pub fn rate(&self) -> f64 {
        (self.at - self.first) as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// One line for the person at the terminal.
#[expect(
    clippy::print_stderr,
    reason = "progress of the binary; libraries below this one are quiet"
)]
pub fn say(line: &str) {
    eprintln!("{line}");
}

fn hours(seconds: f64) -> String {
    let s = seconds.round() as u64;
    format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_reads_as_a_clock() {
        assert_eq!(super::hours(3725.4), "1:02:05");
    }
}
