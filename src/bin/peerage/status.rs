//! What `peerage node` says of its state from time to time.

use std::convert::Infallible;
use std::time::Duration;

use peerage::event::{Because, Event, EventKind, Rule};
use peerage::peer::Limit;
use peerage::router::RouterHandle;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::output::{Output, printable};

/// As long as the node dials fewer peers than it may, says why nobody is dialled: each time that something is different.
pub(crate) async fn watch(
    output: Output,
    node: RouterHandle,
    every: Duration,
    max_outbound: Limit,
) -> Infallible {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once, when nothing has been tried.
    ticks.tick().await;
    let mut told: Option<(Rule, usize)> = None;
    loop {
        ticks.tick().await;
        let asked = (node.peer_counts().await, node.why_not_dialling().await);
        let (Ok(counts), Ok(because)) = asked else {
            // The node has ended, and so will this.
            return std::future::pending().await;
        };
        let state = (because.rule, counts.connected);
        if !max_outbound.is_above(counts.outbound) {
            told = None;
        } else if told.replace(state) != Some(state) {
            tell(&output, counts.connected, counts.stored, &because);
        }
    }
}

fn tell(output: &Output, connected: usize, known: usize, because: &Because) {
    output.line(
        format!("{}, {known} known; {}", peers(connected), sentence(because)),
        &json!({ "event": "status", "connected": connected, "known": known, "because": reason(because) }),
    );
}

/// Why nobody is dialled. A rule about one peer says "it": that is whoever would be dialled first.
fn sentence(because: &Because) -> String {
    let of_all = matches!(
        because.rule,
        Rule::NobodyKnown
            | Rule::DialsInFlight
            | Rule::OutboundFull
            | Rule::UpgradesInUse
            | Rule::UpgradeTooSoon
            | Rule::NobodyWorse
            | Rule::NobodyOldEnough
    );
    let subject = if of_all { "nobody is dialled" } else { "the next to be dialled" };
    format!("{subject}: {because}")
}

/// A length of time for people: whole seconds, or milliseconds below one.
fn rounded(length: Duration) -> humantime::FormattedDuration {
    let whole = match length.as_secs() {
        0 => Duration::from_millis(u64::from(length.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(whole)
}

/// Shows the decisions of the peer manager that an operator wants to see.
pub(crate) fn show_decision(output: &Output, event: &Event) {
    let peer = event.peer.map(|peer| peer.short().to_string()).unwrap_or_default();
    match &event.kind {
        EventKind::Evicting { why, because } => output.line(
            format!("! peer {peer} has to go: {because}"),
            &json!({ "event": "evicting", "peer": event.peer.map(|id| id.to_string()), "why": why, "because": reason(because) }),
        ),
        EventKind::Banned { target, why, automatic, because } => {
            let lasts = match because.remaining() {
                Some(left) => format!(" for {}", rounded(left)),
                None => String::new(),
            };
            output.line(
                format!("! {target} is banned{lasts}: {}", printable(why)),
                &json!({
                    "event": "banned", "target": target, "why": why, "automatic": automatic,
                    "because": reason(because),
                }),
            );
        }
        EventKind::Unbanned { target } => output.line(
            format!("! {target} is banned no longer"),
            &json!({ "event": "unbanned", "target": target }),
        ),
        EventKind::StoreSkipped { count, faults } => output.line(
            format!("! the peer store has {count} records that cannot be read: {}", printable(&faults.join("; "))),
            &json!({ "event": "store_skipped", "count": count, "faults": faults }),
        ),
        EventKind::StoreFailed { error, again } => output.line(
            format!("! {}{}", printable(error), if *again { "; it is tried again" } else { "" }),
            &json!({ "event": "store_failed", "error": error, "again": again }),
        ),
        _ => {}
    }
}

fn peers(count: usize) -> String {
    if count == 1 { "1 peer".into() } else { format!("{count} peers") }
}

fn reason(because: &Because) -> Value {
    json!({
        "rule": because.rule.as_str(), "value": because.value, "threshold": because.threshold,
        "remaining_s": because.remaining().map(|left| left.as_secs()), "text": because.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "somewhere for time to begin")]
    fn a_reason_says_whether_it_is_about_everybody_or_about_the_next() {
        let of = |rule| sentence(&Because::new(rule, Instant::now()));
        assert_eq!(of(Rule::NobodyKnown), "nobody is dialled: no peer that could be dialled is known");
        assert_eq!(of(Rule::Busy), "the next to be dialled: it said that it has no room");
        for rule in Rule::ALL {
            let text = Because::new(*rule, Instant::now()).to_string();
            let of_one = text.starts_with("it ") || text.starts_with("its ");
            assert!(!of_one || of(*rule).starts_with("the next"), "{rule}");
        }
    }

    #[test]
    fn lengths_are_told_in_whole_seconds_and_short_ones_in_milliseconds() {
        let spoken = |nanos| rounded(Duration::from_nanos(nanos)).to_string();
        assert_eq!([spoken(999_999_999), spoken(61_500_000_000)], ["999ms", "1m 1s"]);
    }
}
