//! Records as rows, and rows as records.

use std::time::Duration;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows, Statement, TransactionBehavior, params};

use super::text::{self, clip};
use crate::address::{MAX_ADDRESS_BYTES, NodeAddress};
use crate::id::NodeId;
use crate::peer::{
    AddressRecord, BanReason, BanRecord, BanTarget, HoldRecord, Loaded, MAX_BAN_TEXT_BYTES, PeerRecord,
    PointsRecord, Record, RecordKey, StandingRecord, WallTime,
};

/// Longest label, in bytes.
const MAX_LABEL_BYTES: usize = 32;
/// Longest name of a source: `gossip:` and an identity.
const MAX_SOURCE_BYTES: usize = 7 + 2 * NodeId::BYTES;
/// Longest target of a ban: an identity.
const MAX_TARGET_BYTES: usize = 2 * NodeId::BYTES;

const PEERS: &str = "SELECT id, failures, incompatible, hold_until, hold_why, bad_points, bad_since, \
                     good_points, good_since, uptime_ms, latency_us, offers FROM peers ORDER BY id";
const ADDRESSES: &str = "SELECT peer, position, url, source, failures FROM addresses ORDER BY peer, position";
const BANS: &str = "SELECT target, until, why, detail FROM bans ORDER BY target";

/// Carries out changes of distinct keys: all of them, or none.
pub(super) fn write<'c>(
    connection: &mut Connection,
    changes: impl IntoIterator<Item = (&'c RecordKey, &'c Option<Record>)>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut rows = Writing::new(&transaction)?;
        for (key, record) in changes {
            rows.delete(key)?;
            match record {
                Some(Record::Peer(peer)) => rows.put_peer(peer)?,
                Some(Record::Ban(ban)) => rows.put_ban(ban)?,
                None => {}
            }
        }
    }
    transaction.commit()
}

struct Writing<'c> {
    delete_peer: Statement<'c>,
    delete_addresses: Statement<'c>,
    delete_ban: Statement<'c>,
    put_peer: Statement<'c>,
    put_address: Statement<'c>,
    put_ban: Statement<'c>,
}

impl<'c> Writing<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let put_peer = "INSERT INTO peers (id, failures, incompatible, hold_until, hold_why, bad_points, \
                        bad_since, good_points, good_since, uptime_ms, latency_us, offers) \
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let put_address = "INSERT INTO addresses (peer, position, url, source, failures) \
                           VALUES (?1, ?2, ?3, ?4, ?5)";
        let put_ban = "INSERT INTO bans (target, until, why, detail) VALUES (?1, ?2, ?3, ?4)";
        Ok(Self {
            delete_peer: connection.prepare("DELETE FROM peers WHERE id = ?1")?,
            delete_addresses: connection.prepare("DELETE FROM addresses WHERE peer = ?1")?,
            delete_ban: connection.prepare("DELETE FROM bans WHERE target = ?1")?,
            put_peer: connection.prepare(put_peer)?,
            put_address: connection.prepare(put_address)?,
            put_ban: connection.prepare(put_ban)?,
        })
    }

    fn delete(&mut self, key: &RecordKey) -> rusqlite::Result<()> {
        match key {
            RecordKey::Peer(id) => {
                let id = id.to_string();
                self.delete_addresses.execute([&id])?;
                self.delete_peer.execute([&id])?;
            }
            RecordKey::Ban(target) => {
                self.delete_ban.execute([text::target(*target)])?;
            }
        }
        Ok(())
    }

    fn put_peer(&mut self, peer: &PeerRecord) -> rusqlite::Result<()> {
        let id = peer.id.to_string();
        let standing = &peer.standing;
        let points = |points: Option<PointsRecord>| points.map(|points| points.points);
        let since = |points: Option<PointsRecord>| points.map(|points| at_most(points.since.as_unix_ms()));
        self.put_peer.execute(params![
            id,
            peer.failures,
            peer.incompatible,
            peer.hold.map(|hold| at_most(hold.until.as_unix_ms())),
            peer.hold.map(|hold| text::hold(hold.why)),
            points(standing.bad),
            since(standing.bad),
            points(standing.good),
            since(standing.good),
            at_most(standing.uptime.as_millis()),
            standing.latency.map(|latency| at_most(latency.as_micros())),
            peer.offers.as_deref().map(text::offers),
        ])?;
        for (position, address) in (0_i64..).zip(&peer.addresses) {
            let AddressRecord { address, source, failures } = address;
            let url = address.to_string();
            self.put_address.execute(params![id, position, url, text::source(*source), failures])?;
        }
        Ok(())
    }

    fn put_ban(&mut self, ban: &BanRecord) -> rusqlite::Result<()> {
        let until = ban.until.map(|until| at_most(until.as_unix_ms()));
        let (why, detail) = text::reason(&ban.why);
        self.put_ban.execute(params![text::target(ban.target), until, why, detail])?;
        Ok(())
    }
}

/// SQLite's integers are signed. What does not fit is some hundred million years away.
fn at_most(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Reads every record. A bad row is skipped and told; an error is one of the file.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    // All tables as of one moment.
    let snapshot = connection.unchecked_transaction()?;
    let mut loaded = Loaded::default();
    load_peers(&snapshot, &mut loaded)?;
    load_bans(&snapshot, &mut loaded)?;
    Ok(loaded)
}

/// Reads peers and addresses side by side: both come in the order of the peer.
fn load_peers(connection: &Connection, loaded: &mut Loaded) -> rusqlite::Result<()> {
    let (mut peers, mut addresses) = (connection.prepare(PEERS)?, connection.prepare(ADDRESSES)?);
    let (mut peers, mut addresses) = (peers.query([])?, addresses.query([])?);
    addresses.advance()?;
    let mut last = Vec::new();
    while let Some(row) = peers.next()? {
        let id = bytes(row, 0);
        orphans_before(Some(id), &mut addresses, loaded)?;
        match peer(row, &last) {
            Ok(mut record) => {
                addresses_of(id, record.id, &mut addresses, |address| match address {
                    Ok(address) => record.addresses.push(address),
                    Err(fault) => loaded.skip(|| fault),
                })?;
                loaded.records.push(Record::Peer(record));
            }
            Err(fault) => {
                loaded.skip(|| format!("row id = '{}' of peers, {fault}", clip(id)));
                while addresses.get().is_some_and(|address| bytes(address, 0) == id) {
                    addresses.advance()?;
                }
            }
        }
        if id > last.as_slice() {
            last.clear();
            last.extend_from_slice(id);
        }
    }
    orphans_before(None, &mut addresses, loaded)
}

/// Skips the addresses before those of `peer`, all if there is none: no peer has them.
fn orphans_before(
    peer: Option<&[u8]>,
    addresses: &mut Rows<'_>,
    loaded: &mut Loaded,
) -> rusqlite::Result<()> {
    while let Some(row) = addresses.get() {
        if peer.is_some_and(|peer| bytes(row, 0) >= peer) {
            break;
        }
        loaded.skip(|| format!("{}, column `peer`: no such row in peers", address_row(row)));
        addresses.advance()?;
    }
    Ok(())
}

fn addresses_of(
    peer: &[u8],
    id: NodeId,
    addresses: &mut Rows<'_>,
    mut found: impl FnMut(Result<AddressRecord, String>),
) -> rusqlite::Result<()> {
    while let Some(row) = addresses.get() {
        if bytes(row, 0) != peer {
            break;
        }
        found(address(row, id).map_err(|fault| format!("{}, {fault}", address_row(row))));
        addresses.advance()?;
    }
    Ok(())
}

fn address_row(row: &Row<'_>) -> String {
    let position = Cell::of(row, 1, "position").show();
    format!("row peer = '{}', position = {position} of addresses", clip(bytes(row, 0)))
}

fn load_bans(connection: &Connection, loaded: &mut Loaded) -> rusqlite::Result<()> {
    let mut bans = connection.prepare(BANS)?;
    let mut bans = bans.query([])?;
    let mut last = Vec::new();
    while let Some(row) = bans.next()? {
        let target = bytes(row, 0);
        match ban(row, &last) {
            Ok(ban) => loaded.records.push(Record::Ban(ban)),
            Err(fault) => loaded.skip(|| format!("row target = '{}' of bans, {fault}", clip(target))),
        }
        if target > last.as_slice() {
            last.clear();
            last.extend_from_slice(target);
        }
    }
    Ok(())
}

/// Reads a peer without its addresses. `last` is the greatest key before it.
fn peer(row: &Row<'_>, last: &[u8]) -> Result<PeerRecord, String> {
    let cell = |index, name| Cell::of(row, index, name);
    let id = cell(0, "id");
    id.after(last)?;
    let latency = cell(10, "latency_us").maybe().map(|cell| cell.number().map(Duration::from_micros));
    let offers = cell(11, "offers").maybe().map(|cell| cell.read(text::MAX_OFFERS_BYTES, text::read_offers));
    Ok(PeerRecord {
        id: id.read(2 * NodeId::BYTES, |text| text.parse::<NodeId>().map_err(|why| why.to_string()))?,
        addresses: Vec::new(),
        failures: cell(1, "failures").number()?,
        incompatible: cell(2, "incompatible").flag()?,
        hold: hold(cell(3, "hold_until"), cell(4, "hold_why"))?,
        standing: StandingRecord {
            bad: points(cell(5, "bad_points"), cell(6, "bad_since"))?,
            good: points(cell(7, "good_points"), cell(8, "good_since"))?,
            uptime: Duration::from_millis(cell(9, "uptime_ms").number()?),
            latency: latency.transpose()?,
        },
        offers: offers.transpose()?,
    })
}

fn hold(until: Cell<'_>, why: Cell<'_>) -> Result<Option<HoldRecord>, String> {
    let Some((until, why)) = both(until, why)? else { return Ok(None) };
    Ok(Some(HoldRecord { until: until.time()?, why: why.read(MAX_LABEL_BYTES, text::read_hold)? }))
}

fn points(points: Cell<'_>, since: Cell<'_>) -> Result<Option<PointsRecord>, String> {
    let Some((points, since)) = both(points, since)? else { return Ok(None) };
    Ok(Some(PointsRecord { points: points.number()?, since: since.time()? }))
}

fn address(row: &Row<'_>, id: NodeId) -> Result<AddressRecord, String> {
    let cell = |index, name| Cell::of(row, index, name);
    cell(1, "position").number::<u32>()?;
    let parse = |text: &str| {
        let address: NodeAddress = text.parse().map_err(|why| format!("{why}"))?;
        if address.id() == id { Ok(address) } else { Err("the address is that of another node".to_owned()) }
    };
    Ok(AddressRecord {
        address: cell(2, "url").read(MAX_ADDRESS_BYTES, parse)?,
        source: cell(3, "source").read(MAX_SOURCE_BYTES, text::read_source)?,
        failures: cell(4, "failures").number()?,
    })
}

fn ban(row: &Row<'_>, last: &[u8]) -> Result<BanRecord, String> {
    let cell = |index, name| Cell::of(row, index, name);
    let target = cell(0, "target");
    target.after(last)?;
    let target: BanTarget = target.read(MAX_TARGET_BYTES, text::read_target)?;
    let until = cell(1, "until").maybe().map(|cell| cell.time()).transpose()?;
    let (kind, detail) = (cell(2, "why"), cell(3, "detail"));
    let misbehaved = kind.read(MAX_LABEL_BYTES, |kind| match kind {
        "operator" => Ok(false),
        "misbehaved" => Ok(true),
        _ => Err(format!("`{}` is none of operator, misbehaved", clip(kind.as_bytes()))),
    })?;
    let why = if misbehaved {
        BanReason::Misbehaved(detail.read(MAX_LABEL_BYTES, text::read_misbehaviour)?)
    } else {
        BanReason::Operator(detail.read(MAX_BAN_TEXT_BYTES, |text| Ok(text.into()))?)
    };
    Ok(BanRecord { target, until, why })
}

/// Two columns that are set together.
fn both<'r>(one: Cell<'r>, two: Cell<'r>) -> Result<Option<(Cell<'r>, Cell<'r>)>, String> {
    match (one.maybe(), two.maybe()) {
        (Some(one), Some(two)) => Ok(Some((one, two))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(two.fault(format_args!("is NULL, but `{}` is not", one.name))),
        (None, Some(_)) => Err(one.fault(format_args!("is NULL, but `{}` is not", two.name))),
    }
}

/// The text of a key, whatever it holds.
fn bytes<'r>(row: &'r Row<'_>, index: usize) -> &'r [u8] {
    match row.get_ref(index) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes,
        _ => b"",
    }
}

/// One column of a row. A damaged or foreign file may hold anything in it.
#[derive(Clone, Copy)]
struct Cell<'r> {
    value: ValueRef<'r>,
    name: &'static str,
}

impl<'r> Cell<'r> {
    fn of(row: &'r Row<'_>, index: usize, name: &'static str) -> Self {
        Self { value: row.get_ref(index).unwrap_or(ValueRef::Null), name }
    }

    fn fault(&self, why: impl std::fmt::Display) -> String {
        format!("column `{}`: {why}", self.name)
    }

    fn show(&self) -> String {
        match self.value {
            ValueRef::Integer(number) => number.to_string(),
            other => format!("({})", other.data_type()),
        }
    }

    /// Itself, if it is set.
    fn maybe(self) -> Option<Self> {
        (self.value != ValueRef::Null).then_some(self)
    }

    fn integer(&self) -> Result<i64, String> {
        match self.value {
            ValueRef::Integer(number) => Ok(number),
            other => Err(self.fault(format_args!("is {} where an integer belongs", other.data_type()))),
        }
    }

    fn number<T: TryFrom<i64>>(&self) -> Result<T, String> {
        let number = self.integer()?;
        T::try_from(number).map_err(|_| self.fault(format_args!("{number} is out of range")))
    }

    fn time(&self) -> Result<WallTime, String> {
        self.number().map(WallTime::from_unix_ms)
    }

    fn flag(&self) -> Result<bool, String> {
        match self.integer()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.fault(format_args!("{other} is neither 0 nor 1"))),
        }
    }

    fn read<T>(&self, max_bytes: usize, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
        let ValueRef::Text(bytes) = self.value else {
            return Err(self.fault(format_args!("is {} where text belongs", self.value.data_type())));
        };
        if bytes.len() > max_bytes {
            return Err(self.fault(format_args!("{} bytes; at most {max_bytes}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| self.fault("is no UTF-8"))?;
        parse(text).map_err(|why| self.fault(why))
    }

    /// Keys rise. Only in a damaged file they do not, and a key that came before must not come again.
    fn after(&self, last: &[u8]) -> Result<(), String> {
        match self.value {
            ValueRef::Text(bytes) if bytes <= last => {
                Err(self.fault("comes after a greater one; the file is damaged"))
            }
            _ => Ok(()),
        }
    }
}
