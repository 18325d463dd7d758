//! The `peerage` command line.

mod devnet;
mod journal;
mod key;
mod node;
mod output;
mod policy;
mod probe;
mod refusal;
mod replay;
mod sim;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use mimalloc::MiMalloc;
use peerage::NodeAddress;
use peerage::peer::MAX_DURATION;

use crate::output::{Failure, Output};

/// Thousands of nodes in one process are many small pieces of memory, each looked at for a moment.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

/// An actor-based peer-to-peer router that speaks Ethereum's RLPx.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// One JSON object per line instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a whole network of nodes in this process, with ping and chat on it.
    ///
    /// Exits with 1 if the nodes do not form one network, if a message is lost, or if a node does not shut down in
    /// order. Lost is what was sent and never arrived, and what was dropped for another reason than that whoever sent
    /// or asked had given it up: late answers and stale messages, as a busy machine makes them, are counted and are no
    /// loss.
    ///
    /// With --churn, nodes are killed and started again while the network runs, and what is lost with them is counted
    /// as such. Then the nodes must form one network again, and lines said in it must all arrive: what is lost after
    /// the churn is lost.
    Devnet {
        /// How many nodes, 2 to 512.
        #[arg(long, default_value_t = 8, value_parser = node_count)]
        nodes: u16,
        /// How long, as in 10s, 500ms or 2m.
        #[arg(long = "for", default_value = "10s", value_parser = duration)]
        time: Duration,
        /// What connects them.
        #[arg(long, value_enum, default_value_t = TransportKind::Rlpx)]
        transport: TransportKind,
        /// How many nodes a minute are killed and started again with what they had stored, 1 to 6000.
        #[arg(long, value_name = "PER_MINUTE", value_parser = clap::value_parser!(u16).range(1..=6000))]
        churn: Option<u16>,
        /// Chooses which nodes are killed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// A folder for the journals of the peer managers, made if it is missing: node-0.jsonl and so on, and
        /// node-0.1.jsonl after the first restart. `peerage replay` reads them.
        #[arg(long, value_name = "DIR")]
        journal: Option<PathBuf>,
    },
    /// Runs one node. Lines typed are chat; lines received are printed.
    Node {
        /// Where to listen; port 0 lets the system choose.
        #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:30303", value_parser = socket)]
        listen: SocketAddr,
        /// The file of the node's key; made on the first run.
        #[arg(long, value_name = "FILE", default_value = "peerage.key")]
        key: PathBuf,
        /// Whom it wants.
        #[command(flatten)]
        policy: Box<policy::Policy>,
        /// How often the node looks whether it has fewer peers than it may dial, and says why.
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
        status: Duration,
        /// The network; peers that name another are refused.
        #[arg(long, default_value = "peerage")]
        network: String,
        /// The file in which peers and bans are kept from one run to the next, a SQLite database; made on the first
        /// run. Without it the node knows only whom it is told of.
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
        /// A new file for the journal of the peer manager, of 1 GiB at most. `peerage replay` reads it.
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
    /// Feeds the journal of a node to a fresh peer manager, and says whether it decides the same.
    ///
    /// Exits with 0 if it does, with 1 and the first decision that differs if it does not, and with 2 if the file is no
    /// journal or is damaged. A journal that ends before its node, or in the middle of its last line, is replayed as
    /// far as it goes, with a note.
    Replay {
        /// The journal that `peerage node --journal` or `peerage devnet --journal` wrote.
        file: PathBuf,
        /// Stops behind this line.
        #[arg(long, value_name = "LINE")]
        until: Option<u64>,
        /// Prints every input with what is decided on it.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Runs a whole network on virtual time, as a scenario file says, and says what did not hold.
    ///
    /// The nodes are whole, their network and their time are simulated: all that happens follows from the file and the
    /// seed. Exits with 0 if all that the file expects held, with 1 and a line to replay it if something did not, and
    /// with 2 if the file is no scenario, with the line and column of what is wrong.
    ///
    /// With --seeds, one seed after the other is run until something does not hold. Then acts are left out as long as
    /// that is so, and what remains is printed.
    Sim {
        /// The scenario.
        #[arg(value_name = "SCENARIO")]
        file: PathBuf,
        /// What everything is drawn from.
        #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "seeds")]
        seed: u64,
        /// So many seeds from 0 on, or those from A to before B.
        #[arg(long, value_name = "N|A..B", value_parser = sim::seeds)]
        seeds: Option<sim::Seeds>,
        /// Runs the seed in so many processes, 2 to 1000, and says whether each did the same.
        #[arg(
            long, value_name = "PROCESSES", conflicts_with_all = ["seeds", "report"],
            value_parser = clap::value_parser!(u32).range(2..=1000)
        )]
        repeat: Option<u32>,
        /// Runs all of the seeds, also behind one of which something did not hold.
        #[arg(long, requires = "seeds")]
        keep_going: bool,
        /// How much of a node is simulated, instead of what the scenario says.
        #[arg(long, value_enum)]
        depth: Option<sim::DepthKind>,
        /// A folder for a page about the run, index.html, made if it is missing. With --seeds it is about the first run
        /// of which something did not hold.
        #[arg(long, value_name = "DIR")]
        report: Option<PathBuf>,
    },
    /// Dials any RLPx node and says what it finds, stage by stage.
    Probe {
        /// Whom to dial.
        #[arg(value_name = "ENODE")]
        target: NodeAddress,
        /// How long to wait, over all.
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
        timeout: Duration,
        /// A capability to offer beside our own, as in eth/68; may be given several times.
        #[arg(long = "offer", value_name = "NAME/VERSION", value_parser = probe::offered)]
        offers: Vec<probe::Offered>,
        /// The network to name to peers that can name theirs.
        #[arg(long, default_value = "peerage")]
        network: String,
    },
    /// Makes and shows node keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TransportKind {
    /// TCP and RLPx, on loopback ports that the system chooses.
    Rlpx,
    /// Pipes within the process.
    Memory,
}

fn node_count(text: &str) -> Result<u16, String> {
    let count = text.parse().ok().filter(|count| (2..=512).contains(count));
    count.ok_or_else(|| "must be a number in 2..=512".into())
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, as in 0.0.0.0:30303 or [::]:30303".into())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<humantime::Duration>();
    let time: Duration = parsed.map_err(|_| "must be a length of time, as in 10s, 500ms or 2m")?.into();
    let bounds = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
    if bounds.contains(&time) { Ok(time) } else { Err("must be from 1ms to 24h".into()) }
}

/// A length of time as the peer manager takes it.
fn long_duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<humantime::Duration>();
    let time: Duration = parsed.map_err(|_| "must be a length of time, as in 90s, 12h or 30d")?.into();
    let bounds = Duration::from_millis(1)..=MAX_DURATION;
    if bounds.contains(&time) { Ok(time) } else { Err("must be from 1ms to 365d".into()) }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refusal::exit(&error),
    };
    let output = Output::new(cli.json);
    let result = run(cli.command, &output);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: Command, output: &Output) -> Result<(), Failure> {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init();
    }
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))
    };
    match command {
        Command::Devnet { nodes, time, transport, churn, seed, journal } => {
            let settings =
                devnet::Settings { nodes: usize::from(nodes), time, transport, churn, seed, journal };
            runtime()?.block_on(devnet::run(output, &settings))
        }
        Command::Node { listen, key, policy, status, network, store, journal } => {
            let settings = node::Settings { listen, key, policy: *policy, status, network, store, journal };
            runtime()?.block_on(node::run(output, settings))
        }
        Command::Replay { file, until, verbose } => {
            replay::run(output, &replay::Settings { file: &file, until, verbose })
        }
        Command::Sim { file, seed, seeds, repeat, keep_going, depth, report } => {
            sim::run(output, &sim::Settings { file, seed, repeat, seeds, keep_going, depth, report })
        }
        Command::Probe { target, timeout, offers, network } => {
            runtime()?.block_on(probe::run(output, target, timeout, &offers, network))
        }
        Command::Key(command) => key::run(output, command),
    }
}

/// Listens for Ctrl-C and for the signal to terminate from now on, and completes when one has come.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot listen for signals: {error}"));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(async move {
            tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(windows)]
    {
        let mut interrupt = tokio::signal::windows::ctrl_c().map_err(failed)?;
        Ok(async move {
            interrupt.recv().await;
        })
    }
}
