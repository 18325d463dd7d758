//! The committed corpus of the fuzz target `peer_manager`: replayed, and written anew.

use std::collections::BTreeSet;
use std::time::Instant;

use peerage::peer::Answer;
use peerage::peer::model::{configs, drive_bytes};

use crate::corpus::{folder, replay};

#[test]
#[allow(clippy::disallowed_methods, reason = "the manager needs some instant to count from")]
fn the_corpus_of_peer_manager_passes() {
    let start = Instant::now();
    replay("peer_manager", |bytes| drop(drive_bytes(start, bytes)));
}

/// Adds to the corpus, for everything that machine and model can answer, the first of many drawn inputs in which they
/// do; short ones come first. `cargo test --all-features --test it -- --ignored the_corpus_is_written_anew`
#[test]
#[ignore = "it writes to the repository"]
#[allow(clippy::disallowed_methods, reason = "the manager needs some instant to count from")]
fn the_corpus_is_written_anew() {
    let start = Instant::now();
    let (mut seen, mut state) = (BTreeSet::new(), 0x9e37_79b9_7f4a_7c15_u64);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[4]
    };
    for round in 0..60_000_usize {
        let mut bytes: Vec<u8> = (0..16 + round / 120).map(|_| next()).collect();
        bytes[0] = u8::try_from(round % configs().len()).unwrap();
        let answers = drive_bytes(start, &bytes).answers;
        if answers.iter().filter(|answer| seen.insert(kind_of(answer))).count() > 0 {
            std::fs::write(folder("peer_manager").join(format!("{:03}", seen.len())), &bytes).unwrap();
        }
    }
    println!("{seen:#?}");
}

/// What kind of answer this is.
fn kind_of(answer: &Answer) -> String {
    match answer {
        Answer::Added(Err(why)) => format!("{why:?}"),
        Answer::Dial(Some(dial)) => format!("dial {:?}", dial.because.rule),
        Answer::Admitted(Ok(admitted)) => format!("replaces {}", admitted.replaces.is_some()),
        Answer::Admitted(Err(why)) => format!("admitted {}", why.label()),
        Answer::Incoming(Err(why)) => format!("incoming {}", why.label()),
        Answer::Eviction(Some(eviction)) => format!("evict {:?}", eviction.why),
        Answer::Ban(Ok(banned)) => format!("ban {} {}", banned.renewed, banned.evicts > 0),
        Answer::Ban(Err(why)) => format!("ban {why}"),
        Answer::Unban(was) => format!("unban {was}"),
        Answer::Reconfigured(Err(why)) => {
            format!("{why:?}").chars().take_while(char::is_ascii_alphabetic).collect()
        }
        _ => String::new(),
    }
}
