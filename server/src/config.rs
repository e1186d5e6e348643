//! What `berth serve` is told: flags, then `BERTH_…` variables, then a TOML file, then defaults, the first that speaks wins.
//!
//! No I/O but the reading of that one file; checking that folders exist is `serve`'s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::{Deserialize, Serialize};

/// Flags of `berth serve`; each is also a variable and, without the dashes, a key of the file.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct ServeArgs {
    /// Where everything that must survive a reboot is kept [default: /var/lib/berth]
    #[arg(long, env = "BERTH_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where sockets and the state of running containers are [default: /run/berth]
    #[arg(long, env = "BERTH_RUN_DIR", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Address of the HTTP listener, on loopback [default: 127.0.0.1:7777]
    #[arg(long, env = "BERTH_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// The unix socket: root needs no token there [default: RUN_DIR/berth.sock]
    #[arg(long, env = "BERTH_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Who can reach the address above is an administrator: for a machine with a single user
    #[arg(long, env = "BERTH_NO_AUTH_ON_LOOPBACK", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    pub no_auth_on_loopback: Option<bool>,
    /// The unprivileged user that serves: a name, `uid` or `uid:gid` [default: berth where it exists, else 61777]
    #[arg(long, env = "BERTH_USER", value_name = "USER")]
    pub user: Option<String>,
    /// A TOML file with any of these: `data-dir = "/srv/berth"` [default: /etc/berth/berth.toml where it exists]
    #[arg(long, env = "BERTH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where an installed Berth has its configuration.
pub const DEFAULT_FILE: &str = "/etc/berth/berth.toml";

const DATA_DIR: &str = "/var/lib/berth";
const RUN_DIR: &str = "/run/berth";
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7777);

/// The same in a file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct FileConfig {
    data_dir: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    socket: Option<PathBuf>,
    no_auth_on_loopback: Option<bool>,
    user: Option<String>,
}

/// What is in force, with every path absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    pub listen: SocketAddr,
    pub socket: PathBuf,
    pub no_auth_on_loopback: bool,
    /// None takes `berth`, or a fixed number where there is no such user.
    pub user: Option<String>,
}

/// Why there is no configuration to serve by.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: {message}")]
    Parse { path: PathBuf, line: usize, message: String },
    #[error("cannot make {path} absolute")]
    Absolute { path: PathBuf, source: std::io::Error },
    #[error("{path:?} is the root folder: --data-dir and --run-dir need folders of their own")]
    RootFolder { path: PathBuf },
    #[error("--data-dir and --run-dir are the same folder, {path:?}")]
    SameFolder { path: PathBuf },
    #[error("{listen} is not a loopback address: without TLS the API is served to this machine only (forward the port by ssh instead)")]
    NotLoopback { listen: SocketAddr },
}

impl Config {
    /// Flags and variables from `args`, the rest from the file it names (or the usual one, where that exists), the rest by default.
    pub fn resolve(args: ServeArgs) -> Result<Config, ConfigError> {
        Config::resolve_with(args, Path::new(DEFAULT_FILE))
    }

    fn resolve_with(args: ServeArgs, usual: &Path) -> Result<Config, ConfigError> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None if usual.exists() => read_file(usual)?,
            None => FileConfig::default(),
        };
        let data_dir = absolute(args.data_dir.or(file.data_dir).unwrap_or_else(|| DATA_DIR.into()))?;
        let run_dir = absolute(args.run_dir.or(file.run_dir).unwrap_or_else(|| RUN_DIR.into()))?;
        if data_dir == run_dir {
            return Err(ConfigError::SameFolder { path: data_dir });
        }
        let socket = match args.socket.or(file.socket) {
            Some(path) => absolute(path)?,
            None => run_dir.join("berth.sock"),
        };
        let listen = args.listen.or(file.listen).unwrap_or(LISTEN);
        if !listen.ip().is_loopback() {
            return Err(ConfigError::NotLoopback { listen });
        }
        let no_auth_on_loopback = args.no_auth_on_loopback.or(file.no_auth_on_loopback).unwrap_or(false);
        Ok(Config { data_dir, run_dir, listen, socket, no_auth_on_loopback, user: args.user.or(file.user) })
    }

    /// The folder of the database: the only one that the unprivileged process writes to.
    pub fn db_dir(&self) -> PathBuf {
        self.data_dir.join("db")
    }
}

fn read_file(path: &Path) -> Result<FileConfig, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
        ConfigError::Parse { path: path.to_owned(), line, message: error.message().to_owned() }
    })
}

/// Absolute and without `.`, `//` or a slash at the end, so that two spellings of one folder are one text.
fn absolute(path: PathBuf) -> Result<PathBuf, ConfigError> {
    let whole = std::path::absolute(&path).map_err(|source| ConfigError::Absolute { path: path.clone(), source })?;
    let clean: PathBuf = whole.components().collect();
    if clean == Path::new("/") {
        return Err(ConfigError::RootFolder { path: clean });
    }
    Ok(clean)
}

/// One option as its flag declares it.
#[derive(Debug)]
pub struct OptionDoc {
    pub key: String,
    pub variable: String,
    pub help: String,
    /// As it would stand in the file.
    pub default: String,
}

/// Every option there is, from the flags themselves.
pub fn options() -> Vec<OptionDoc> {
    let command = ServeArgs::augment_args(clap::Command::new("berth"));
    let described = command.get_arguments().filter(|argument| argument.get_id() != "config").map(|argument| {
        let key = argument.get_long().unwrap_or_default().to_owned();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        OptionDoc {
            variable: argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            help: help.split(" [default:").next().unwrap_or_default().to_owned(),
            default: match key.as_str() {
                "data-dir" => format!("{DATA_DIR:?}"),
                "run-dir" => format!("{RUN_DIR:?}"),
                "listen" => format!("{:?}", LISTEN.to_string()),
                "socket" => format!("{:?}", format!("{RUN_DIR}/berth.sock")),
                "user" => "\"berth\"".to_owned(),
                _ => "false".to_owned(),
            },
            key,
        }
    });
    described.collect()
}

/// A configuration file with every option, each commented out at its default: what a package installs.
pub fn example() -> String {
    let mut text =
        "# Berth's configuration: every option there is, each at its default. A flag of `berth serve` comes before a variable,\n\
                    # and a variable before this file. After a change: systemctl restart berth-launcher berth (containers go on).\n"
            .to_owned();
    for option in options() {
        let OptionDoc { key, variable, help, default } = option;
        text.push_str(&format!("\n# {help}.\n# --{key}, {variable}\n#{key} = {default}\n"));
    }
    text
}

/// The table of docs/configuration.md.
pub fn table() -> String {
    let mut text = "| key | flag | variable | default | what it is |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for OptionDoc { key, variable, help, default } in options() {
        text.push_str(&format!("| `{key}` | `--{key}` | `{variable}` | `{default}` | {help} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = Config::resolve_with(ServeArgs::default(), Path::new("/nowhere/berth.toml")).unwrap();
        assert_eq!(config.data_dir, Path::new("/var/lib/berth"));
        assert_eq!(config.socket, Path::new("/run/berth/berth.sock"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:7777");
        assert!(!config.no_auth_on_loopback);
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("berth.toml");
        std::fs::write(&path, "run-dir = \"/run/other\"\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let args = ServeArgs { config: Some(path), listen: Some("[::1]:2".parse().unwrap()), ..ServeArgs::default() };
        let config = Config::resolve(args).unwrap();
        assert_eq!(config.socket, Path::new("/run/other/berth.sock"));
        assert_eq!(config.listen.to_string(), "[::1]:2");
    }

    #[test]
    fn a_key_that_nobody_knows_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("berth.toml");
        std::fs::write(&path, "# a comment\n\ndatadir = \"/x\"\n").unwrap();
        let error = Config::resolve(ServeArgs { config: Some(path.clone()), ..ServeArgs::default() }).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:3: unknown field `datadir`, expected one of `data-dir`", path.display())), "{error}");
        std::fs::write(&path, "run-dir = \"/x\"\nlisten = \"nonsense\"\n").unwrap();
        let error = Config::resolve(ServeArgs { config: Some(path.clone()), ..ServeArgs::default() }).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2: ", path.display())), "{error}");
    }

    #[test]
    fn the_usual_file_is_read_where_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("berth.toml");
        std::fs::write(&path, "data-dir = \"/srv/berth\"\n").unwrap();
        assert_eq!(Config::resolve_with(ServeArgs::default(), &path).unwrap().data_dir, Path::new("/srv/berth"));
    }

    fn repository(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
    }

    #[test]
    fn the_example_file_has_every_option_at_its_default() {
        let uncommented: String = example()
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
            .fold(String::new(), |text, line| text + line + "\n");
        let parsed: FileConfig = toml::from_str(&uncommented).unwrap();
        let keys = serde_json::to_value(&parsed).unwrap();
        let missing: Vec<_> = keys.as_object().unwrap().iter().filter(|(_, value)| value.is_null()).map(|(key, _)| key).collect();
        assert!(missing.is_empty(), "the file knows keys that no flag has: {missing:?}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("berth.toml");
        std::fs::write(&path, &uncommented).unwrap();
        let nowhere = Path::new("/nowhere/berth.toml");
        let told = Config::resolve_with(ServeArgs { config: Some(path), ..ServeArgs::default() }, nowhere).unwrap();
        let silent = Config::resolve_with(ServeArgs::default(), nowhere).unwrap();
        assert_eq!(told, Config { user: Some("berth".to_owned()), ..silent });
    }

    #[test]
    fn the_packaged_file_and_the_page_are_fresh() {
        let packaged = std::fs::read_to_string(repository("packaging/berth.toml")).unwrap_or_default();
        assert_eq!(packaged, example(), "packaging/berth.toml is stale: cargo run --bin berth config example > packaging/berth.toml");
        let page = std::fs::read_to_string(repository("docs/configuration.md")).unwrap();
        let between = page.split_once("<!-- table: options -->\n\n").unwrap().1.split_once("\n<!-- end -->").unwrap().0;
        assert_eq!(between, table(), "docs/configuration.md is stale");
    }

    #[test]
    fn a_flag_says_its_default() {
        let mut command = ServeArgs::augment_args(clap::Command::new("berth"));
        let help = command.render_help().to_string();
        for option in options().iter().filter(|option| option.default != "false" && option.key != "socket") {
            let default = option.default.trim_matches('"');
            assert!(help.contains(&format!("[default: {default}")), "--{} does not say {default}:\n{help}", option.key);
        }
    }

    #[test]
    fn only_loopback_is_served() {
        for address in ["0.0.0.0:7777", "192.168.1.2:80", "[::]:7777"] {
            let args = ServeArgs { listen: Some(address.parse().unwrap()), ..ServeArgs::default() };
            assert!(matches!(Config::resolve(args), Err(ConfigError::NotLoopback { .. })), "{address}");
        }
    }

    #[test]
    fn folders_are_two_and_neither_is_the_root() {
        let same = ServeArgs { data_dir: Some("/x".into()), run_dir: Some("/x/.".into()), ..ServeArgs::default() };
        assert!(matches!(Config::resolve(same), Err(ConfigError::SameFolder { .. })));
        let root = ServeArgs { data_dir: Some("/".into()), ..ServeArgs::default() };
        assert!(matches!(Config::resolve(root), Err(ConfigError::RootFolder { .. })));
    }
}
