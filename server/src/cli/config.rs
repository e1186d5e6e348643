//! `berth config check`.

use crate::config::{Config, ConfigError, ServeArgs};

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Prints what is in force, as a file would have it.
pub fn check(args: CheckArgs) -> Result<(), ConfigError> {
    let config = Config::resolve(args.serve)?;
    println!("data-dir = {:?}", config.data_dir);
    println!("run-dir = {:?}", config.run_dir);
    println!("listen = {:?}", config.listen.to_string());
    println!("socket = {:?}", config.socket);
    println!("no-auth-on-loopback = {}", config.no_auth_on_loopback);
    println!("user = {:?}", config.user.as_deref().unwrap_or("berth"));
    Ok(())
}
