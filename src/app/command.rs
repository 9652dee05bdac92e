//! The command line (design section 1).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Given, Origin, Settings, Sources};

/// Why a command ended without success.
pub(super) enum Stop {
    /// Exit code 64: every problem of the usage or the configuration.
    Usage(Vec<String>),
    /// Exit code 1.
    Failed(String),
}

/// Traces, logs, metrics, client errors and alerts of a small team in one small binary.
#[derive(Parser)]
#[command(name = "watchpost", version, disable_help_subcommand = true)]
pub(super) struct CommandLine {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Flags {
    /// TOML file with settings (docs/configuration.md)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Address of everything: pages, APIs, OTLP [default: 127.0.0.1:4300]
    #[arg(long, value_name = "IP:PORT", global = true)]
    listen: Option<String>,
    /// Address of OTLP over gRPC, or "off" [default: 127.0.0.1:4317]
    #[arg(long, value_name = "IP:PORT", global = true)]
    otlp_grpc_listen: Option<String>,
    /// Address of OTLP over HTTP, or "off" [default: 127.0.0.1:4318]
    #[arg(long, value_name = "IP:PORT", global = true)]
    otlp_http_listen: Option<String>,
    /// Where everything is kept [default: ./watchpost-data]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// Memory budget, such as 256MB [default: 60 % of what there is, at most 1GiB]
    #[arg(long, value_name = "SIZE", global = true)]
    memory_limit: Option<String>,
    /// Ports of Prometheus and others; comes with metrics
    #[arg(long, global = true)]
    compat_ports: bool,
    /// No login and no tokens, on any address
    #[arg(long, global = true)]
    insecure: bool,
}

#[derive(Clone, Subcommand)]
pub(super) enum Command {
    /// Runs the server (the default)
    Serve,
    /// Asks the running server whether it is ready; for a container's HEALTHCHECK
    Healthcheck,
    /// Checks the settings and the Prometheus file they name; tells every mistake with its place
    Check,
    /// Checks every checksum of the data directory while no server uses it; repairs nothing
    Verify,
    /// Tokens for senders and programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Accounts for people
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Clone, Subcommand)]
pub(super) enum TokenCommand {
    /// Makes a token and prints it, once
    Create {
        /// Who will use it
        #[arg(long, default_value = "command line")]
        name: String,
        /// What it may do: ingest, read, admin, or several joined by commas
        #[arg(long, default_value = "ingest")]
        scope: String,
    },
}

#[derive(Clone, Subcommand)]
pub(super) enum UserCommand {
    /// Adds an account, or changes its password; asks for the password on stdin
    Add {
        name: String,
        /// Reads the password from this file instead of stdin
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

impl CommandLine {
    pub(super) fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// Reads all layers of the configuration, with these flags on top.
    pub(super) fn settings(&self, environment: Vec<(String, String)>) -> Result<Settings, Stop> {
        let sources = Sources {
            config: self.flags.config.clone(),
            environment,
            flags: self.flags.given(),
        };
        config::load(&sources)
            .map_err(|problems| Stop::Usage(problems.iter().map(ToString::to_string).collect()))
    }
}

impl Flags {
    fn given(&self) -> Vec<Given> {
        let switch = |set: bool, text: &str| set.then(|| text.to_owned());
        let flags = [
            ("--listen", "listen", self.listen.clone()),
            (
                "--otlp-grpc-listen",
                "otlp_grpc_listen",
                self.otlp_grpc_listen.clone(),
            ),
            (
                "--otlp-http-listen",
                "otlp_http_listen",
                self.otlp_http_listen.clone(),
            ),
            ("--data-dir", "data_dir", self.data_dir.clone()),
            ("--memory-limit", "limits.memory", self.memory_limit.clone()),
            (
                "--compat-ports",
                "compat_ports",
                switch(self.compat_ports, "true"),
            ),
            ("--insecure", "auth.mode", switch(self.insecure, "none")),
        ];
        let given = |(flag, setting, text): (&'static str, &str, Option<String>)| {
            Some(Given {
                setting: setting.to_owned(),
                text: text?,
                origin: Origin::Flag(flag),
            })
        };
        flags.into_iter().filter_map(given).collect()
    }
}
