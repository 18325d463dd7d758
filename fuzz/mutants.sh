#!/usr/bin/env bash
# Breaks the peer manager in one place at a time, as an engineer might by mistake, and has its tests find out.
#
#   fuzz/mutants.sh            all mutants
#   fuzz/mutants.sh NAME...    those whose name contains one of these words
#
# Works in a private copy of the tree, with a target directory of its own (target/mutants, or $MUTANTS_TARGET). Says of each mutant
# whether it was killed; fails if fewer than nine in ten were, or if one does not apply or compile any longer.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${MUTANTS_TARGET:-$root/target/mutants}
export PROPTEST_FAILURE_PERSISTENCE=off
words=("$@")
killed=0 survived=() broken=()

(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T - 2>/dev/null) | tar -x -C "$copy"
cp -r "$copy/src/peer" "$copy/pristine"

run() {
    (cd "$copy" && timeout 900 cargo test --quiet --no-default-features --lib "$@" -- peer:: >"$copy/log" 2>&1)
}

chosen() {
    [ ${#words[@]} -eq 0 ] && return 0
    local word
    for word in "${words[@]}"; do [[ $1 == *"$word"* ]] && return 0; done
    return 1
}

# mutant NAME FILE OLD NEW: replaces the first OLD in src/peer/FILE.
mutant() {
    chosen "$1" || return 0
    local file=$copy/src/peer/$2
    if ! OLD=$3 NEW=$4 perl -0pi -e '$n = s/\Q$ENV{OLD}\E/$ENV{NEW}/; END { exit !$n }' "$file"; then
        broken+=("$1") && echo "NOT APPLIED  $1"
    elif ! run --no-run; then
        broken+=("$1") && echo "NOT COMPILED $1"
    elif run; then
        survived+=("$1") && echo "SURVIVED     $1"
    else
        killed=$((killed + 1)) && echo "killed       $1 ($(grep -c '^    peer::' "$copy/log" || true) tests)"
    fi
    cp "$copy/pristine/$2" "$file"
    touch "$file"
}

run || { tail -30 "$copy/log"; echo "the tests fail without any mutant"; exit 2; }

# Limits, off by one.
mutant limit-is-one-more        config.rs    'Self::AtMost(limit) => count < limit,' 'Self::AtMost(limit) => count <= limit,'
mutant dials-one-more           dialing.rs   'if self.index.usage.dials >= self.config.max_dials_in_flight {' 'if self.index.usage.dials > self.config.max_dials_in_flight {'
mutant handshakes-one-more      accepting.rs 'usage.handshakes >= self.config.max_inbound_handshakes' 'usage.handshakes > self.config.max_inbound_handshakes'
mutant excess-one-more          accepting.rs 'usage.excess < self.config.max_excess_handshakes' 'usage.excess <= self.config.max_excess_handshakes'
mutant bans-one-more            bans.rs      'if !renewed && self.bans.len() >= self.config.max_bans' 'if !renewed && self.bans.len() > self.config.max_bans'
mutant addresses-one-more       storing.rs   'if peer.addresses.len() < self.config.max_addresses_per_peer {' 'if peer.addresses.len() <= self.config.max_addresses_per_peer {'
mutant margin-not-reached       order.rs     'ahead >= i16::from(margin)' 'ahead > i16::from(margin)'
mutant bad-limit-not-reached    leaving.rs   'points.filter(|points| *points >= limit)' 'points.filter(|points| *points > limit)'
mutant survival-not-reached     leaving.rs   '>= self.config.backoff.survival' '> self.config.backoff.survival'
mutant needed-by-one-less       seating.rs   'self.index.up_offering[at] <= quota.at_least' 'self.index.up_offering[at] < quota.at_least'
mutant short-at-enough          seating.rs   'self.index.dialing_offering[quota] < asked' 'self.index.dialing_offering[quota] <= asked'
mutant level-not-reached        standing.rs  'filter(|level| good >= **level)' 'filter(|level| good > **level)'
# Instants.
mutant hold-ends-late           manager.rs   '            && until <= now
        {
            self.update(key, |peer| peer.state = State::Idle(Wait::Due));' '            && until < now
        {
            self.update(key, |peer| peer.state = State::Idle(Wait::Due));'
mutant ban-ends-late            bans.rs      '            && until <= now
        {
            self.lift(&target);' '            && until < now
        {
            self.lift(&target);'
mutant old-only-after           seating.rs   'later(*since, max_age) <= now' 'later(*since, max_age) < now'
mutant clock-runs-backwards     manager.rs   'self.now = self.now.max(now);' 'self.now = now;'
# Back-off.
mutant backoff-linear           backoff.rs   '1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)' 'failures'
mutant backoff-doubles-early    backoff.rs   'checked_shl(failures.saturating_sub(1))' 'checked_shl(failures)'
mutant busy-is-a-failure        backoff.rs   '(Side::Remote, _) if closed.reason == DisconnectReason::TooManyPeers => Self::Busy,' ''
mutant no-cooldown              backoff.rs   'if hold.until < cooldown.until { cooldown } else { hold }' 'hold'
mutant restored-hold-believed   restoring.rs 'self.until_wall(hold.until).min(self.backoff().longest(id, failures, hold.why))' 'self.until_wall(hold.until)'
mutant failures-never-cleared   leaving.rs   'let before = if lived { 0 } else { peer.failures };' 'let before = peer.failures;'
mutant never-forgiven           accepting.rs 'let forgiven = std::mem::take(&mut peer.incompatible);' 'let forgiven = false;'
mutant blocked-address-retried  dialing.rs   'any(|known| fresher(known) && open(known))' 'any(fresher)'
# Places, claims and releases.
mutant slot-not-released        leaving.rs   '        self.unlink(live.seat, live.claimant);
        if live.up {' '        if live.up {'
mutant claim-not-released       dialing.rs   '        self.unlink(attempt.seat, None);
        self.forget_if_hopeless(key);' '        self.forget_if_hopeless(key);'
mutant rate-not-charged         seating.rs   'self.next_upgrade[pool as usize] = Some(later(now, self.config.upgrade_interval));' ''
mutant rotation-not-charged     seating.rs   'self.next_rotation = self.config.rotate_every.map(|every| later(now, every));' ''
mutant wrong-ground             seating.rs   'return Some((Ground::Upgrade, victim));' 'return Some((Ground::Rotation, victim));'
mutant quota-before-class       seating.rs   '(newcomer.merit.class >= worst.class).then_some((ground, victim))' 'Some((ground, victim))'
mutant group-not-released       manager.rs   'self.lift_blocker(Blocker::Group(group));' ''
mutant ban-not-released         bans.rs      '        self.lift_blocker(Blocker::Ban(ban.serial));
        self.mark(RecordKey::Ban(*target));
        true' '        self.mark(RecordKey::Ban(*target));
        true'
mutant protected-claimed-goes   dialing.rs   'if victim.roles.protected {' 'if false {'
mutant young-not-spared         accepting.rs '(!min_age.is_zero()).then(|| later(now, min_age))' 'None'
mutant youth-under-protection   manager.rs   'live.young_until.filter(|until| *until > self.now)' 'live.young_until'
mutant seed-takes-a-place       seating.rs   'if newcomer.seed || !self' 'if !self'
# Directions and order.
mutant lesser-identity-wins     accepting.rs 'Direction::Outbound => self.config.self_id > *id,' 'Direction::Outbound => self.config.self_id < *id,'
mutant best-evicted-first       changing.rs  'staying.sort_by_key(|staying| Reverse(*staying));' 'staying.sort();'
mutant groups-share-a-count     groups.rs    'count(&mut self.connected, (group, direction == Direction::Inbound), more);' 'count(&mut self.connected, (group, true), more);'
mutant trusted-without-a-cap    leaving.rs   'if peer.roles.trusted { trusted_cap } else { limit }' 'limit'
mutant protected-banned         leaving.rs   '.filter(|peer| !peer.roles.protected).map(|peer| peer.id);' '.map(|peer| peer.id);'
# Persistence.
mutant points-not-stored        leaving.rs   '        self.regrade(key);
        self.touch(key);
        if given > 0' '        self.regrade(key);
        if given > 0'
mutant failure-not-stored       dialing.rs   '        self.touch(key);
    }

    /// Whether another address' '    }

    /// Whether another address'
mutant ban-not-stored           bans.rs      '        self.mark(RecordKey::Ban(target));
        let covered' '        let covered'
mutant seed-mode-of-protected   leaving.rs   'if self.peers.get(key).is_some_and(|peer| peer.roles.protected) {' 'if false {'
# What attackers try.
mutant full-is-forgotten        storing.rs   'let excused = peer.incompatible || peer.is_busy();' 'let excused = peer.incompatible;'
mutant points-without-end       leaving.rs   '{ trusted_cap } else { limit }' '{ trusted_cap } else { u32::MAX }'
mutant all-released-at-once     parking.rs   'for _ in 0..MAX_RELEASED {' 'for _ in 0..usize::MAX {'
mutant heir-counts-anew         accepting.rs 'Some(old) => old.seat.group,' 'Some(_) => incoming.group,'
mutant unreachable-like-others  index.rs     '{ peer.rank.merit } else { Merit::UNREACHABLE }' '{ peer.rank.merit } else { peer.rank.merit }'
mutant age-beats-class          seating.rs   'below(*key) && !self.is_needed(*key)' '!self.is_needed(*key)'
mutant gossip-keeps-the-address storing.rs   'known.source = SourceKey::Operator;' ''
mutant ban-believed             bans.rs      'self.until_wall(until).min(most.unwrap_or(MAX_DURATION))' 'self.until_wall(until).min(MAX_DURATION)'
mutant points-believed          restoring.rs 'Points::aged(points.min(most),' 'Points::aged(points.max(most.min(0)),'
mutant hold-not-cut             changing.rs  '        self.shorten_hold(key);' '        _ = self.backoff();'
mutant present-address-untold   telling.rs   '(known.failures == 0 || peer.is_connected_at(&known.place))' 'known.failures == 0'
mutant replaced-address-charged accepting.rs 'peer.clear_address(&old.remote);' ''
mutant outage-forgets           storing.rs   '&& !excused && !alone' '&& !excused'
mutant automatic-before-operator bans.rs     'by_operator || until > Some(least.0)' 'until > Some(least.0)'
# Reasons.
mutant name-is-a-range          explain.rs   'Some((BanTarget::Peer(_), _)) => Rule::Banned,' ''
mutant reason-that-is-over      explain.rs   'doom.because.until.filter(|until| *until > self.now)' 'doom.because.until'
mutant everybody-is-next        explain.rs   'Some(_) if self.next_to_dial() == Some(key)' 'Some(_) if self.next_to_dial().is_some()'

total=$((killed + ${#survived[@]} + ${#broken[@]}))
echo "$killed of $total killed; survived: ${survived[*]:-none}; of no use: ${broken[*]:-none}"
[ ${#broken[@]} -eq 0 ] && [ $((killed * 10)) -ge $((total * 9)) ]
