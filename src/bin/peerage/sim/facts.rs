//! What a run of a scenario came to, besides what the run itself tells.

use std::path::Path;
use std::time::Duration;

use peerage::sim::Depth;

/// What the scenario says of itself, what depends on the machine, and how to get all the rest again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// What the scenario is about; may be empty.
    pub(super) about: String,
    /// How long the run took.
    pub(super) wall: Duration,
    /// The most memory that this process has held, where the system tells.
    pub(super) max_rss_bytes: Option<u64>,
    /// The command that does the same.
    pub(super) replay: String,
}

impl Facts {
    /// How many milliseconds it took for each second of virtual time, to the microsecond; `None` if no time passed in
    /// it.
    pub(super) fn wall_ms_per_virtual_s(&self, virtual_time: Duration) -> Option<f64> {
        let micros = self.wall.as_secs_f64() * 1e6 / virtual_time.as_secs_f64();
        (!virtual_time.is_zero()).then(|| micros.round() / 1000.0)
    }
}

/// The most memory that this process has held so far, where the system tells.
pub(super) fn max_rss_bytes() -> Option<u64> {
    high_water(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// How a depth is called on the command line, and what it means.
pub(super) fn depth(depth: Depth) -> (&'static str, &'static str) {
    match depth {
        Depth::Plain => ("plain", "frames without cryptography"),
        Depth::Rlpx => ("rlpx", "RLPx as over TCP"),
    }
}

/// The command that runs one seed of a scenario; a shell takes it as it stands.
pub(super) fn replay(file: &Path, seed: u64, asked: Option<Depth>) -> String {
    let depth = asked.map(|asked| format!(" --depth {}", depth(asked).0)).unwrap_or_default();
    format!("peerage sim {} --seed {seed}{depth}", quoted(&file.to_string_lossy()))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./+:@%,".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    // A file may be called like a flag.
    let path = if word.starts_with('-') { format!("./{word}") } else { word.to_owned() };
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_taken_by_a_shell_as_it_stands() {
        let command = |file: &str, depth| replay(Path::new(file), 7, depth);
        assert_eq!(command("scenarios/churn.toml", None), "peerage sim scenarios/churn.toml --seed 7");
        assert_eq!(
            command("it's here.toml", Some(Depth::Rlpx)),
            r"peerage sim 'it'\''s here.toml' --seed 7 --depth rlpx"
        );
        assert_eq!(command("-x.toml", None), "peerage sim './-x.toml' --seed 7");
    }

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        let status = "Name:\tpeerage\nVmPeak:\t  900 kB\nVmHWM:\t   81236 kB\nVmRSS:\t    700 kB\n";
        assert_eq!(high_water(status), Some(81_236 * 1024));
        assert_eq!(high_water("Name:\tpeerage\nVmHWM:\tmuch\n"), None);
        assert_eq!(high_water(""), None);
    }

    #[test]
    fn the_cost_is_told_for_a_second_of_virtual_time() {
        let wall = Duration::from_millis(1500);
        let facts = Facts { about: String::new(), wall, max_rss_bytes: None, replay: String::new() };
        assert_eq!(facts.wall_ms_per_virtual_s(Duration::from_secs(600)), Some(2.5));
        assert_eq!(facts.wall_ms_per_virtual_s(Duration::ZERO), None);
    }
}
