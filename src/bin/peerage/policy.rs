//! The flags of `peerage node` that say whom it wants: limits, sets of peers, bans and quotas.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use peerage::address::IpPrefix;
use peerage::id::ChannelId;
use peerage::peer::{BanTarget, Limit, Quota, Want};
use peerage::router::{Builder, RouterConfig};
use peerage::{NodeAddress, NodeId};

use crate::{duration, long_duration};

/// Whom a node wants, and how many.
#[derive(Debug, Args)]
#[command(next_help_heading = "Peers")]
pub(crate) struct Policy {
    /// A peer to keep connected to, dialled again 35 s after it was lost; may be given several times.
    #[arg(long = "peer", visible_alias = "persistent", value_name = "ENODE")]
    persistent: Vec<NodeAddress>,
    /// A peer that is dialled and let in whatever the limits; may be given several times.
    #[arg(long, value_name = "ENODE|ID")]
    unconditional: Vec<Named>,
    /// A peer whose addresses are told to nobody; may be given several times.
    #[arg(long, value_name = "ENODE|ID")]
    private: Vec<Named>,
    /// A peer that is not disconnected for misbehaviour; may be given several times.
    #[arg(long, value_name = "ENODE|ID")]
    trusted: Vec<Named>,
    /// A peer to ask for addresses when nobody else can be dialled, and to let go; may be given several times.
    #[arg(long, value_name = "ENODE")]
    seed_node: Vec<NodeAddress>,
    /// Be a seed: let every peer go after so long, as in 30s.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    seed_mode: Option<Duration>,
    /// Most connections to peers that this node dials.
    #[arg(long, value_name = "N|unlimited", default_value = "25", value_parser = limit, allow_negative_numbers = true)]
    max_outbound: Limit,
    /// Most connections of peers that dial this node.
    #[arg(long, value_name = "N|unlimited", default_value = "25", value_parser = limit, allow_negative_numbers = true)]
    max_inbound: Limit,
    /// Keep out a peer, an IP address or a range, for a time or for good; may be given several times. With --store it
    /// outlives the node.
    #[arg(long = "ban", value_name = "ID|IP|IP/BITS[=TIME]", value_parser = ban)]
    bans: Vec<(BanTarget, Option<Duration>)>,
    /// Lift a ban that is in the store; may be given several times.
    #[arg(long = "unban", value_name = "ID|IP|IP/BITS", value_parser = target)]
    unbans: Vec<BanTarget>,
    /// Have at least so many peers that offer something, as in service:archive=2; may be given several times.
    #[arg(long = "quota", value_name = "capability:NAME=N|service:NAME=N", value_parser = quota)]
    quotas: Vec<Quota>,
}

/// A peer that is named by its identity, or by an address to dial as well.
#[derive(Debug, Clone)]
struct Named {
    id: NodeId,
    address: Option<NodeAddress>,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            let address = text.parse::<NodeAddress>().map_err(|error| error.to_string())?;
            return Ok(Self { id: address.id(), address: Some(address) });
        }
        Ok(Self {
            id: text.parse().map_err(|error: peerage::id::NodeIdError| error.to_string())?,
            address: None,
        })
    }
}

impl Policy {
    /// The flag that names `id`, if one does; a node is no peer of itself.
    pub(crate) fn naming(&self, id: NodeId) -> Option<&'static str> {
        let named = |set: &[Named]| set.iter().any(|named| named.id == id);
        let given = |set: &[NodeAddress]| set.iter().any(|address| address.id() == id);
        let flags = [
            ("--peer", given(&self.persistent)),
            ("--unconditional", named(&self.unconditional)),
            ("--private", named(&self.private)),
            ("--trusted", named(&self.trusted)),
            ("--seed-node", given(&self.seed_node)),
        ];
        flags.into_iter().find(|(_, names)| *names).map(|(flag, _)| flag)
    }

    /// Most connections to peers that this node dials.
    pub(crate) fn max_outbound(&self) -> Limit {
        self.max_outbound
    }

    /// Declares all of it.
    pub(crate) fn declare(&self, builder: &mut Builder) {
        builder.configure(|config| self.configure(config));
        for target in &self.unbans {
            builder.unban(*target);
        }
        for (target, length) in &self.bans {
            builder.ban(*target, *length, "--ban");
        }
        let named = [&self.unconditional, &self.private, &self.trusted];
        let named = named.into_iter().flatten().filter_map(|named| named.address.as_ref());
        for address in self.persistent.iter().chain(&self.seed_node).chain(named) {
            builder.peer(address.clone());
        }
    }

    fn configure(&self, config: &mut RouterConfig) {
        let peers = &mut config.peers;
        (peers.max_outbound, peers.max_inbound) = (self.max_outbound, self.max_inbound);
        peers.persistent.extend(self.persistent.iter().map(NodeAddress::id));
        peers.unconditional.extend(self.unconditional.iter().map(|named| named.id));
        peers.private.extend(self.private.iter().map(|named| named.id));
        peers.trusted.extend(self.trusted.iter().map(|named| named.id));
        peers.seeds.peers.extend(self.seed_node.iter().map(NodeAddress::id));
        peers.seeds.mode = self.seed_mode;
        peers.quotas.clone_from(&self.quotas);
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "unlimited" => Ok(Limit::Unlimited),
        number => number.parse().map(Limit::AtMost).map_err(|_| "must be a number or `unlimited`".into()),
    }
}

fn ban(text: &str) -> Result<(BanTarget, Option<Duration>), String> {
    let (target, length) = match text.split_once('=') {
        Some((target, length)) => (target, Some(long_duration(length)?)),
        None => (text, None),
    };
    Ok((self::target(target)?, length))
}

fn target(text: &str) -> Result<BanTarget, String> {
    if let Ok(id) = text.parse::<NodeId>() {
        Ok(BanTarget::Peer(id))
    } else if let Ok(ip) = text.parse::<IpAddr>() {
        Ok(BanTarget::Prefix(IpPrefix::single(ip)))
    } else if text.contains('/') {
        Ok(BanTarget::Prefix(
            text.parse().map_err(|error: peerage::address::IpPrefixError| error.to_string())?,
        ))
    } else {
        Err("must be a node id, an IP address or a range as 192.0.2.0/24; a ban may end in =TIME".into())
    }
}

fn quota(text: &str) -> Result<Quota, String> {
    let form = || "must read as service:archive=2 or capability:snap=2".to_owned();
    let (wants, at_least) = text.rsplit_once('=').ok_or_else(form)?;
    let (kind, name) = wants.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(form)?;
    let wants = match kind {
        "service" => Want::Service(name.to_owned()),
        "capability" => Want::Capability(name.parse::<ChannelId>().map_err(|error| error.to_string())?),
        _ => return Err(form()),
    };
    let at_least = at_least.parse().ok().filter(|count| *count > 0);
    Ok(Quota { wants, at_least: at_least.ok_or("how many must be a number from 1 on")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_are_read_with_and_without_a_time() {
        let range = |text: &str| BanTarget::Prefix(text.parse().unwrap());
        assert_eq!(ban("192.0.2.7/24"), Ok((range("192.0.2.0/24"), None)));
        assert_eq!(
            ban("192.0.2.7=365d"),
            Ok((range("192.0.2.7/32"), Some(Duration::from_secs(365 * 86_400))))
        );
        let minute = Some(Duration::from_secs(60));
        assert_eq!(ban("2001:db8::1=1m"), Ok((range("2001:db8::1/128"), minute)));
        let id = peerage::NodeKey::insecure_from_seed(1).id();
        assert_eq!(ban(&format!("{id}=1m")), Ok((BanTarget::Peer(id), minute)));
        for bad in ["", "=1m", "192.0.2.0/33", "192.0.2.0/24=soon", "192.0.2.7=366d", "192.0.2.7=0s", "peer"]
        {
            assert!(ban(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quotas_are_read() {
        let wants = Want::Service("archive".into());
        assert_eq!(quota("service:archive=2"), Ok(Quota { wants, at_least: 2 }));
        let wants = Want::Capability(ChannelId::from_static("snap"));
        assert_eq!(quota("capability:snap=1"), Ok(Quota { wants, at_least: 1 }));
        for bad in ["", "archive=2", "service:=2", "service:archive", "service:archive=0", "capability:a b=1"]
        {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_read() {
        assert_eq!([limit("0"), limit("unlimited")], [Ok(Limit::AtMost(0)), Ok(Limit::Unlimited)]);
        assert!(limit("-1").is_err() && limit("many").is_err());
    }
}
