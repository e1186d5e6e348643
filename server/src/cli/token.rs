//! `berth token create`.

use axum::body::Body;
use axum::http::Method;

use super::client::{ClientArgs, ClientError, block_on};

#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// What it is called [default: a generated name]
    #[arg(long)]
    name: Option<String>,
    /// What its bearer may do: viewer, operator or admin
    #[arg(long, default_value = "admin", value_parser = ["viewer", "operator", "admin"])]
    role: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the token on standard output, and nothing else there.
pub fn create(args: CreateArgs) -> Result<(), ClientError> {
    let mut body = serde_json::json!({"spec": {"role": args.role}});
    if let Some(name) = args.name {
        body["metadata"]["name"] = name.into();
    }
    let call = args.client.call(Method::POST, "/api/v1/tokens", Some("application/json"), Body::from(body.to_string()));
    let answer = block_on(call)?;
    println!("{}", answer["secret"].as_str().unwrap_or_default());
    eprintln!("Token {} with the role {}. It is not shown again.", answer["metadata"]["name"].as_str().unwrap_or_default(), args.role);
    if let Some(link) = answer["loginUrl"].as_str() {
        eprintln!("In a browser: {link}");
    }
    Ok(())
}
