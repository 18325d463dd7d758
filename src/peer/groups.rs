//! Groups of addresses that one party may own: what is stored, connected and begun of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::backoff::later;
use super::config::{GroupConfig, Limit};
use crate::address::Scope;
use crate::id::Direction;

/// A /24 of IP version 4, or a /64 of version 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    V4([u8; 3]),
    V6([u8; 8]),
}

impl Group {
    /// The group of an IP address; `None` if the configuration does not group such addresses.
    pub(super) fn of(ip: IpAddr, config: &GroupConfig) -> Option<Self> {
        let ip = ip.to_canonical();
        if Scope::of_ip(ip) != Scope::Public && !config.private_too {
            return None;
        }
        Some(match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        })
    }
}

/// What is counted of each group. Groups of which nothing is counted have no entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Groups {
    stored: BTreeMap<Group, u32>,
    connected: BTreeMap<(Group, bool), u32>,
    windows: Windows,
}

impl Groups {
    pub(super) fn stored(&self, group: Group) -> usize {
        number(self.stored.get(&group))
    }

    /// Connections in one direction, with their dials or handshakes.
    pub(super) fn connected(&self, group: Group, direction: Direction) -> usize {
        number(self.connected.get(&(group, direction == Direction::Inbound)))
    }

    pub(super) fn count_stored(&mut self, group: Option<Group>, more: bool) {
        if let Some(group) = group {
            count(&mut self.stored, group, more);
        }
    }

    /// Counts one more address of a group, unless that would be more than the limit.
    pub(super) fn store_within(&mut self, group: Group, limit: Limit) -> bool {
        let count = self.stored.entry(group).or_default();
        let room = limit.is_above(*count as usize);
        *count += u32::from(room);
        if *count == 0 {
            self.stored.remove(&group);
        }
        room
    }

    pub(super) fn count_connected(&mut self, group: Option<Group>, direction: Direction, more: bool) {
        if let Some(group) = group {
            count(&mut self.connected, (group, direction == Direction::Inbound), more);
        }
    }

    /// How many handshakes began in the present window, and when it ends.
    pub(super) fn begun(&self, group: Group, now: Instant, window: Duration) -> (usize, Option<Instant>) {
        match self.windows.by_group.get(&group) {
            Some(&(began, count)) if later(began, window) > now => (count, Some(later(began, window))),
            _ => (0, None),
        }
    }

    pub(super) fn begin(&mut self, group: Option<Group>, now: Instant, window: Duration) {
        if let Some(group) = group {
            self.windows.begin(group, now, window);
        }
    }

    /// Whether both count the same of what is stored and connected.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.stored == other.stored && self.connected == other.connected
    }
}

fn number(count: Option<&u32>) -> usize {
    count.map_or(0, |count| *count as usize)
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K, more: bool) {
    if more {
        *counts.entry(key).or_default() += 1;
    } else if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Windows at a time. Whoever calls from more groups than these within one window pushes out the oldest: it has
/// the means to call from new groups for ever anyway.
const MAX_WINDOWS: usize = 4096;

/// Handshakes begun by each group in its present window.
#[derive(Debug, Clone, PartialEq, Default)]
struct Windows {
    by_group: BTreeMap<Group, (Instant, usize)>,
    by_age: BTreeSet<(Instant, Group)>,
}

impl Windows {
    fn begin(&mut self, group: Group, now: Instant, window: Duration) {
        while let Some(&(began, oldest)) = self.by_age.first()
            && (later(began, window) <= now || self.by_age.len() >= MAX_WINDOWS)
        {
            self.by_age.pop_first();
            self.by_group.remove(&oldest);
        }
        let (began, count) = self.by_group.entry(group).or_insert((now, 0));
        *count += 1;
        self.by_age.insert((*began, group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ip: &str) -> Option<Group> {
        Group::of(ip.parse().unwrap(), &GroupConfig::default())
    }

    #[test]
    fn public_addresses_are_grouped_by_24_and_64_bits() {
        assert_eq!(group("8.8.8.8"), group("8.8.8.255"));
        assert_eq!(group("8.8.8.8"), group("::ffff:8.8.8.9"));
        assert_ne!(group("8.8.8.8"), group("8.8.9.8"));
        assert_eq!(group("2001:4860::1"), group("2001:4860:0:0:f::"));
        assert_ne!(group("2001:4860::1"), group("2001:4860:0:1::1"));
        assert_eq!([group("10.0.0.1"), group("127.0.0.1"), group("fd00::1")], [None; 3]);
    }

    #[test]
    fn private_addresses_are_grouped_on_request() {
        let config = GroupConfig { private_too: true, ..GroupConfig::default() };
        assert!(Group::of("10.0.0.1".parse().unwrap(), &config).is_some());
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // Somewhere for virtual time to begin.
    fn windows_are_bounded_and_end() {
        let (start, window) = (Instant::now(), Duration::from_secs(60));
        let mut groups = Groups::default();
        let nth = |n: usize| {
            let [.., a, b] = n.to_be_bytes();
            Group::V4([8, a, b])
        };
        for n in 0..=MAX_WINDOWS {
            groups.begin(Some(nth(n)), start, window);
        }
        assert_eq!(groups.windows.by_group.len(), MAX_WINDOWS);
        let last = nth(MAX_WINDOWS);
        assert_eq!(groups.begun(last, start + window / 2, window), (1, Some(start + window)));
        assert_eq!(groups.begun(last, start + window, window), (0, None));
        groups.begin(Some(last), start + window, window);
        assert_eq!(groups.windows.by_group.len(), 1, "what has ended is dropped");
    }
}
