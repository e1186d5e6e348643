//! `berth doctor`: the server's own judgement where it runs, else what root can find without it.

use std::path::PathBuf;
use std::process::ExitCode;

use axum::body::Body;
use axum::http::Method;

use super::client::{ClientArgs, ClientError, runtime};
use super::stopped::{self, StoppedError};
use crate::config::{Config, ConfigError};
use crate::doctor::{Check, Report, Verdict, diagnose};

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print every check as JSON
    #[arg(long)]
    json: bool,
    /// The data folder, where berth does not run [default: /var/lib/berth]
    #[arg(long, env = "BERTH_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Stopped(#[from] StoppedError),
    #[error("the server's answer is not understood: is it of another version?")]
    Answer { source: serde_json::Error },
}

/// Prints the report; the worst verdict is the exit code.
pub fn run(args: &DoctorArgs) -> Result<ExitCode, DoctorError> {
    let config = args.client.places(args.data_dir.as_deref())?;
    let report = runtime()?.block_on(report(args, &config))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|source| DoctorError::Answer { source })?);
    } else {
        print!("{}", text(&report));
    }
    Ok(match report.verdict {
        Verdict::Ok | Verdict::Note => ExitCode::SUCCESS,
        Verdict::Degraded => ExitCode::from(1),
        Verdict::Broken => ExitCode::from(2),
    })
}

async fn report(args: &DoctorArgs, config: &Config) -> Result<Report, DoctorError> {
    let socket = config.socket.display();
    match args.client.call(Method::GET, "/api/v1/system/doctor", None, Body::empty()).await {
        Ok(answer) => {
            let report: Report = serde_json::from_value(answer).map_err(|source| DoctorError::Answer { source })?;
            Ok(report.with(Check::ok("service", "server", format!("answers at {socket}"))))
        }
        // The launcher is a service of its own and does not run, or does not understand: look past both.
        Err(ClientError::Refused(problem)) => {
            let check = Check::ok("service", "server", format!("answers at {socket}, but: {}", problem.detail)).but(
                Verdict::Broken,
                "no container can be started",
                "systemctl status berth-launcher; its log is journalctl -u berth-launcher, and runtime.log in the run-dir",
            );
            without_server(config, false).await.map(|report| report.with(check))
        }
        Err(ClientError::Connect { .. }) => {
            let check = Check::ok("service", "server", format!("nobody answers at {socket}")).but(
                Verdict::Degraded,
                "containers go on, but none can be started, stopped or looked at",
                "systemctl start berth, or `berth serve` as root",
            );
            stopped::refuse_where_it_runs(config)?;
            without_server(config, true).await.map(|report| report.with(check))
        }
        Err(error) => Err(error.into()),
    }
}

async fn without_server(config: &Config, rows: bool) -> Result<Report, DoctorError> {
    stopped::need_root()?;
    let instance = stopped::instance(config);
    let before = if rows { stopped::owned(config).await } else { Ok(None) };
    let examination = stopped::examine(config, instance.as_deref())?;
    Ok(match before {
        Ok(owned) => diagnose(&examination, owned.as_ref()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            diagnose(&examination, None).with(Check::ok("storage", "database", format!("{error}{cause}")).but(
                Verdict::Broken,
                "berth does not start",
                "berth restore, from the newest backup, into an empty data folder",
            ))
        }
    })
}

/// A line a check; what is not well has its meaning and its remedy below it.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut area = "";
    for check in &report.checks {
        if check.area != area {
            area = &check.area;
            text.push_str(&format!("{area}\n"));
        }
        let sign = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Degraded => "degraded",
            Verdict::Broken => "BROKEN",
        };
        text.push_str(&format!("  {sign:<9} {:<19} {}\n", check.name, check.finding));
        if let Some(meaning) = &check.meaning {
            text.push_str(&format!("            so: {meaning}\n"));
        }
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("            do: {remedy}\n"));
        }
    }
    let count = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count();
    let (ok, notes) = (count(Verdict::Ok), count(Verdict::Note));
    text.push_str(&format!("{ok} ok, {notes} notes, {} degraded, {} broken\n", count(Verdict::Degraded), count(Verdict::Broken)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_says_why_and_what_to_do() {
        let bad = Check::ok("storage", "disk-space", "1 MiB free").but(Verdict::Broken, "nothing can be written", "remove something");
        let report = Report::new(vec![Check::ok("host", "kernel", "Linux 6"), bad]);
        let wanted = "host\n  ok        kernel              Linux 6\nstorage\n  BROKEN    disk-space          1 MiB free\n            \
                      so: nothing can be written\n            do: remove something\n1 ok, 0 notes, 0 degraded, 1 broken\n";
        assert_eq!(text(&report), wanted);
    }
}
