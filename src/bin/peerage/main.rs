//! The `peerage` command line.

mod devnet;
mod key;
mod node;
mod output;
mod probe;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use peerage::NodeAddress;

use crate::output::{Failure, Output};

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
    Devnet {
        /// How many nodes, 2 to 512.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=512))]
        nodes: u16,
        /// How long, as in 10s, 500ms or 2m.
        #[arg(long = "for", default_value = "10s", value_parser = duration)]
        time: Duration,
        /// What connects them.
        #[arg(long, value_enum, default_value_t = TransportKind::Rlpx)]
        transport: TransportKind,
    },
    /// Runs one node. Lines typed are chat; lines received are printed.
    Node {
        /// Where to listen; port 0 lets the system choose.
        #[arg(long, default_value = "0.0.0.0:30303")]
        listen: SocketAddr,
        /// The file of the node's key; made on the first run.
        #[arg(long, default_value = "peerage.key")]
        key: PathBuf,
        /// A peer to keep connected to; may be given several times.
        #[arg(long = "peer", value_name = "ENODE")]
        peers: Vec<NodeAddress>,
        /// The network; peers that name another are refused.
        #[arg(long, default_value = "peerage")]
        network: String,
    },
    /// Dials any RLPx node and says what it finds, stage by stage.
    Probe {
        /// Whom to dial.
        #[arg(value_name = "ENODE")]
        target: NodeAddress,
        /// How long to wait, over all.
        #[arg(long, default_value = "5s", value_parser = duration)]
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TransportKind {
    /// TCP and RLPx, on loopback ports that the system chooses.
    Rlpx,
    /// Pipes within the process.
    Memory,
}

fn duration(text: &str) -> Result<Duration, String> {
    let time: Duration = text.parse::<humantime::Duration>().map_err(|error| error.to_string())?.into();
    let bounds = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
    if bounds.contains(&time) { Ok(time) } else { Err("must be from 1ms to 24h".into()) }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
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
            .init();
    }
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))
    };
    match command {
        Command::Devnet { nodes, time, transport } => {
            runtime()?.block_on(devnet::run(output, usize::from(nodes), time, transport))
        }
        Command::Node { listen, key, peers, network } => {
            runtime()?.block_on(node::run(output, node::Settings { listen, key, peers, network }))
        }
        Command::Probe { target, timeout, offers, network } => {
            runtime()?.block_on(probe::run(output, target, timeout, &offers, network))
        }
        Command::Key(command) => key::run(output, command),
    }
}

/// Completes when the operator asks the process to end.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
