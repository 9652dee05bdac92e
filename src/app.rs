//! Builds everything, lists every long-lived task and the order in which they stop.

mod command;
mod control;
mod demo;
mod server;
mod storage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use command::{Command, CommandLine, Stop};

use crate::{config, scrape};

/// Bad usage or configuration (sysexits' EX_USAGE); everything else that fails is 1.
const EXIT_USAGE: u8 = 64;

/// Runs one command line and returns its exit code: 0, 1 (runtime) or 64 (usage, configuration).
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(e) => {
            // `--help` and `--version` are answers, not mistakes, and go to stdout.
            let code = if e.use_stderr() {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::SUCCESS
            };
            _ = e.print();
            return code;
        }
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match perform(&line, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Usage(problems)) => {
            for problem in problems {
                eprintln!("watchpost: {problem}");
            }
            ExitCode::from(EXIT_USAGE)
        }
        Err(Stop::Failed(message)) => {
            eprintln!("watchpost: {message}");
            ExitCode::FAILURE
        }
    }
}

/// `watchpost check`: the settings were read already; now the files that they name.
fn check(settings: &config::Settings) -> Result<(), Stop> {
    let source = settings.scrape_source();
    let told = |findings: &[scrape::Finding]| findings.iter().map(ToString::to_string).collect();
    match source.read() {
        Ok(file) => {
            for warning in &file.warnings {
                println!("{warning}");
            }
            println!("{} scrape jobs, no mistakes", file.jobs.len());
            Ok(())
        }
        Err(problems) => Err(Stop::Usage(told(&problems))),
    }
}

fn perform(line: &CommandLine, environment: Vec<(String, String)>) -> Result<(), Stop> {
    let settings = line.settings(environment)?;
    match line.command() {
        Command::Serve => server::run(settings),
        Command::Check => check(&settings),
        Command::Verify => storage::verify(&settings),
        Command::Healthcheck => control::healthcheck(&settings),
        Command::Token(command::TokenCommand::Create { name, scope }) => {
            control::create_token(&settings, &name, &scope)
        }
        Command::User(command::UserCommand::Add {
            name,
            password_file,
        }) => control::add_user(&settings, &name, password_file.as_deref()),
    }
}
