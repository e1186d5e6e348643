//! `berth`: the control plane, and the few things that a person does beside its API.

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use server::cli::{backup, config, doctor, image, token};
use server::config::ServeArgs;

/// Containers on one Linux machine, from first principles.
#[derive(Debug, Parser)]
#[command(name = "berth", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the control plane: as root, it starts the privileged launcher and becomes an unprivileged user
    Serve(ServeArgs),
    /// Prepare the folders and become the privileged launcher: for a service manager that runs the two halves apart
    Launch(ServeArgs),
    /// API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Try what the host can do and count what is left over; ends with 0 when all is well, 1 when degraded, 2 when broken
    Doctor(doctor::DoctorArgs),
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write the state, and what else is asked for, to one file; works while berth runs and while it does not
    Backup(backup::BackupArgs),
    /// Make an empty data folder what a backup says; containers come back stopped
    Restore(backup::RestoreArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a file with every option, each at its default
    Example,
    /// Say what is in force, or which line is wrong
    Check(config::CheckArgs),
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it: this is the only time that it is shown
    Create(token::CreateArgs),
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Load the images of an archive: an OCI layout, or what `docker save` writes
    Load(image::LoadArgs),
    /// Make an image of a root file system in a tar
    Import(image::ImportArgs),
    /// Save an image as an archive: an OCI layout, and a docker archive too
    Save(image::SaveArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let mut text = format!("berth: {error}");
            let mut next = error.source();
            while let Some(cause) = next {
                text.push_str(&format!(": {cause}"));
                next = cause.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Serve(args) => server::serve::run(args)?,
        Command::Token(TokenCommand::Create(args)) => token::create(args)?,
        Command::Image(ImageCommand::Load(args)) => image::load(args)?,
        Command::Image(ImageCommand::Import(args)) => image::import(args)?,
        Command::Image(ImageCommand::Save(args)) => image::save(args)?,
        Command::Openapi => print!("{}", server::http::openapi::text()),
        Command::Doctor(args) => return Ok(doctor::run(&args)?),
        Command::Launch(args) => server::serve::launch(args)?,
        Command::Config(ConfigCommand::Example) => print!("{}", server::config::example()),
        Command::Config(ConfigCommand::Check(args)) => config::check(args)?,
        Command::Backup(args) => backup::backup(&args)?,
        Command::Restore(args) => backup::restore(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `BERTH_LOG` takes a filter (`debug`, `server=trace,info`), `BERTH_LOG_FORMAT=json` gives one object a line.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BERTH_LOG").unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var_os("BERTH_LOG_FORMAT").is_some_and(|format| format == "json") {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}
