//! Whether what the machine says of its reasons is so.

use super::worlds::{IDENTITIES, identity};
use super::{Model, compare::bans};
use crate::event::{Because, Rule};
use crate::id::NodeId;
use crate::peer::{BanTarget, PeerManager, Status};

/// Holds every reason to the state: a sentence with all its numbers, about the state that the peer is in, until a time that
/// has not passed; and whoever is said to be next is dialled next.
///
/// # Panics
///
/// At the first reason that is not so.
pub(super) fn check_reasons(model: &Model, manager: &PeerManager) {
    // A question is answered as of the latest input; a drain is none.
    let now = manager.why_not_dialling().at;
    let mut ahead = manager.clone();
    let next = ahead.try_dial_next(now).map(|dial| dial.address.id());
    let banned: Vec<BanTarget> = bans(manager).into_iter().map(|ban| ban.target).collect();
    for id in (0..IDENTITIES).map(identity) {
        let because = manager.why(&id);
        check_words(&because);
        if because.rule == Rule::NextInLine {
            assert_eq!(next, Some(id), "{id:?} is said to be next");
        }
        if id == model.config().self_id {
            assert_eq!(because.rule, Rule::SelfId);
        } else if banned.contains(&BanTarget::Peer(id)) {
            assert_eq!(because.rule, Rule::Banned, "why {id:?}");
        } else {
            check_state(&id, &because, manager.status(&id).as_ref());
        }
    }
    let because = manager.why_not_dialling();
    check_words(&because);
    let of_a_range = match because.rule {
        Rule::Banned => Some(false),
        Rule::BannedPrefix => Some(true),
        _ => None,
    };
    if let Some(of_a_range) = of_a_range {
        let such = banned.iter().any(|target| matches!(target, BanTarget::Prefix(_)) == of_a_range);
        assert!(such, "there is no such ban: {because}");
    }
    let promised = because.rule == Rule::NextInLine;
    assert!(!promised || next.is_some(), "somebody is said to be dialled next, and nobody is");
    // Whoever could not be dialled is out of the line now.
    if next.is_none() {
        let because = ahead.why_not_dialling();
        let waits = !matches!(because.rule, Rule::NextInLine | Rule::OthersFirst);
        assert!(waits, "nobody is dialled, and the reason is: {because}");
    }
}

fn check_state(id: &NodeId, because: &Because, status: Option<&Status>) {
    let said = because.rule;
    match status {
        None => assert_eq!(said, Rule::Unknown, "why {id:?}"),
        Some(Status::Dialing { .. }) => assert_eq!(said, Rule::Dialing, "why {id:?}"),
        Some(Status::Connected { evicting: None, .. }) => assert_eq!(said, Rule::Connected, "why {id:?}"),
        Some(Status::Connected { .. }) => {
            assert!(
                !matches!(said, Rule::Connected | Rule::Dialing | Rule::Unknown),
                "why {id:?}: {because}"
            );
        }
        Some(Status::Idle { hold: Some(hold), .. }) if hold.until > because.at => {
            assert_eq!(because.until, Some(hold.until), "why {id:?}: {because}");
        }
        Some(Status::Idle { .. }) => {
            let elsewhere = matches!(said, Rule::Connected | Rule::Dialing | Rule::Unknown);
            assert!(!elsewhere, "why {id:?}, which is idle: {because}");
        }
    }
}

fn check_words(because: &Because) {
    let words = because.to_string();
    let whole = !words.is_empty() && !words.contains(['{', '}']) && !words.contains("some ");
    assert!(whole, "a number is missing: {words}");
    assert!(because.until.is_none_or(|until| until >= because.at), "that was over already: {words}");
}
