//! `berth image load`, `berth image import` and `berth image save`.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::Method;
use serde_json::Value;
use tokio_util::io::ReaderStream;

use super::client::{ClientArgs, ClientError, block_on};

#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// An OCI image layout as a tar, or what `docker save` writes; plain, gzip or zstd; `-` is standard input
    file: PathBuf,
    /// What the archive's one image is to be called [default: what the archive says]
    #[arg(long)]
    reference: Option<String>,
    /// Of an image for several platforms the one for this, such as linux/amd64 [default: this machine's]
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// A tar of a root file system, plain, gzip or zstd; `-` is standard input
    file: PathBuf,
    /// What the image is to be called [default: the file's name]
    #[arg(long)]
    reference: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, clap::Args)]
pub struct SaveArgs {
    /// A reference (`busybox:latest`), which the archive then has, an id, or a unique beginning of its digits of 8 or more
    reference: String,
    /// A new file; `-` is standard output
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the name of each image, a line each; what was left out goes to standard error.
pub fn load(args: LoadArgs) -> Result<(), ClientError> {
    let parameters = [("reference", args.reference), ("platform", args.platform)];
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
    let answer = upload(&args.client, &args.file, format!("/api/v1/images/load?{}", query.finish()))?;
    for image in answer["items"].as_array().into_iter().flatten() {
        println!("{}", image["metadata"]["name"].as_str().unwrap_or_default());
    }
    for note in answer["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("{note}");
    }
    Ok(())
}

pub fn import(args: ImportArgs) -> Result<(), ClientError> {
    let reference = args.reference.clone().unwrap_or_else(|| reference_of(&args.file));
    let query: String = form_urlencoded::byte_serialize(reference.as_bytes()).collect();
    let answer = upload(&args.client, &args.file, format!("/api/v1/images/import?reference={query}"))?;
    println!("{}", answer["metadata"]["name"].as_str().unwrap_or_default());
    Ok(())
}

pub fn save(args: SaveArgs) -> Result<(), ClientError> {
    let reference: String = form_urlencoded::byte_serialize(args.reference.as_bytes()).collect();
    block_on(args.client.download(&format!("/api/v1/images/{reference}/archive"), &args.file))
}

fn upload(client: &ClientArgs, file: &Path, target: String) -> Result<Value, ClientError> {
    block_on(async {
        let body = if file == Path::new("-") {
            Body::from_stream(ReaderStream::with_capacity(tokio::io::stdin(), 64 << 10))
        } else {
            let opened = tokio::fs::File::open(file).await;
            let opened = opened.map_err(|source| ClientError::ReadFile { path: file.to_owned(), source })?;
            Body::from_stream(ReaderStream::with_capacity(opened, 64 << 10))
        };
        client.call(Method::POST, &target, Some("application/octet-stream"), body).await
    })
}

/// `busybox` of `some/folder/busybox.tar.gz`.
fn reference_of(file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.split('.').next().filter(|stem| !stem.is_empty() && *stem != "-").unwrap_or("image").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_name() {
        for (file, wanted) in [("a/Busybox.tar.gz", "busybox"), ("x.tar", "x"), ("-", "image"), (".tar", "image")] {
            assert_eq!(reference_of(Path::new(file)), wanted);
        }
    }
}
