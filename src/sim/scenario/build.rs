//! The network of a scenario.

use std::rc::Rc;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;

use super::board::Board;
use super::conduct::{Conduct, Proper};
use super::group::Group;
use super::plan::Plan;
use super::talk::{Talk, listen, say};
use crate::event::Event;
use crate::message::ChannelSpec;
use crate::reactor::drive;
use crate::reactor::pex::{Exchange, Exchanger};
use crate::router::BuildError;
use crate::sim::byzantine::Byzantine;
use crate::sim::net::{SimError, SimNet};
use crate::sim::node::{Node, Setup};
use crate::sim::seed::{derive, draws, sample};

/// The board of a run; it is there before the first node starts.
type Slot = Rc<std::cell::OnceCell<Arc<Board>>>;

/// Makes the network of a scenario. None of its nodes runs yet.
pub(super) fn build(
    plan: &Plan,
    depth: crate::sim::Depth,
    seed: u64,
) -> Result<(SimNet, Arc<Board>), SimError> {
    let mut net = SimNet::new(seed, depth)?;
    net.set_line(plan.line)?;
    for (from, to, line) in &plan.region_lines {
        net.set_line_of_regions(*from, *to, *line)?;
    }
    net.set_opening(plan.opening);
    net.set_interleaved(plan.interleaved);
    let slot = Slot::default();
    for group in &plan.groups {
        add(&mut net, group, &slot)?;
    }
    for (number, group) in plan.groups.iter().enumerate() {
        if let Conduct::Proper(proper) = &group.conduct {
            acquaint(&mut net, plan, number, proper);
        }
    }
    let began = net.block_on(async { tokio::time::Instant::now() });
    let nodes = net.nodes();
    let groups = nodes.iter().map(|node| plan.census.group_of(*node).unwrap_or(0));
    let groups = groups.map(|group| u16::try_from(group).unwrap_or(u16::MAX)).collect();
    let ids = nodes.iter().map(|node| (net.id(*node), *node)).collect();
    let board = Arc::new(Board::new(began, ids, groups, plan.census.groups()));
    Ok((net, Arc::clone(slot.get_or_init(|| board))))
}

/// Adds the nodes of a group.
fn add(net: &mut SimNet, group: &Group, slot: &Slot) -> Result<(), SimError> {
    for place in &group.places {
        match &group.conduct {
            Conduct::Proper(proper) => {
                let (proper, slot) = (proper.clone(), Rc::clone(slot));
                net.add_at(*place, move |setup| match slot.get() {
                    Some(board) => declare(setup, &proper, board),
                    None => Ok(()),
                })?;
            }
            Conduct::Byzantine { misdeed, every, victims } => {
                let channels = vec![ChannelSpec::of::<Talk>(), ChannelSpec::of::<Exchange>()];
                let mut character = Byzantine::new(*misdeed, channels).dialing(victims);
                character.every = *every;
                net.add_byzantine(*place, character)?;
            }
        }
    }
    Ok(())
}

/// Declares a proper node.
fn declare(setup: &mut Setup<'_>, proper: &Proper, board: &Arc<Board>) -> Result<(), BuildError> {
    let (node, phase) = (setup.node(), setup.seed("talk"));
    let builder = setup.builder();
    builder.configure(|config| proper.limits.apply(&mut config.peers));
    let observing = Arc::clone(board);
    builder.observer(move |event: &Event| observing.observe(node, event));
    let (sender, receiver) = builder.channel_with::<Talk>(&proper.channel)?.split();
    builder.reactor("listen", listen(receiver, Arc::clone(board), node, proper.handles_in));
    if let Some(talking) = proper.talk {
        // Nodes that start at one time do not all speak at one time.
        let begins = talking.every.mul_f64((phase % 1_000) as f64 / 1_000.0);
        builder.reactor("say", say(sender, Arc::clone(board), node, talking, begins));
    }
    if let Some(every) = proper.pex {
        let (channel, updates, book) = (builder.channel()?, builder.updates(), builder.addresses());
        let (_, events) = mpsc::channel(1);
        builder.reactor("pex", drive(Exchanger::new(book, every), channel, updates, events));
    }
    Ok(())
}

/// Tells the nodes of a group whom they know.
fn acquaint(net: &mut SimNet, plan: &Plan, number: usize, proper: &Proper) {
    let nodes = plan.census.nodes_of(number);
    if let Some(topology) = proper.topology {
        let seed = derive(net.seed(), "topology", number as u64);
        for (from, to) in topology.edges(nodes.len(), seed) {
            net.tie(nodes[from], nodes[to]);
        }
    }
    for node in nodes {
        let mut draws = draws(net.seed(), "knows", u64::from(node.0));
        for (group, count) in &proper.ties {
            let others = choose(plan.census.nodes_of(*group), node, *count, &mut draws);
            others.into_iter().for_each(|other| net.tie(node, other));
        }
        for (group, count) in &proper.knows {
            let others = choose(plan.census.nodes_of(*group), node, *count, &mut draws);
            others.into_iter().for_each(|other| net.introduce(node, other));
        }
    }
}

/// At most `count` of `nodes`, in the order in which they are drawn; not `but`.
fn choose(nodes: Vec<Node>, but: Node, count: usize, draws: &mut ChaCha8Rng) -> Vec<Node> {
    sample(nodes.into_iter().filter(|node| *node != but).collect(), count, draws)
}
