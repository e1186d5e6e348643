//! `berth image load`.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::Method;
use tokio_util::io::ReaderStream;

use super::client::{ClientArgs, ClientError, block_on};

#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// A tar of a root file system, plain, gzip or zstd; `-` is standard input
    file: PathBuf,
    /// What the image is to be called [default: the file's name]
    #[arg(long)]
    reference: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub fn load(args: LoadArgs) -> Result<(), ClientError> {
    let reference = args.reference.clone().unwrap_or_else(|| reference_of(&args.file));
    let query: String = form_urlencoded::byte_serialize(reference.as_bytes()).collect();
    let answer = block_on(async {
        let body = if args.file == Path::new("-") {
            Body::from_stream(ReaderStream::with_capacity(tokio::io::stdin(), 64 << 10))
        } else {
            let file =
                tokio::fs::File::open(&args.file).await.map_err(|source| ClientError::ReadFile { path: args.file.clone(), source })?;
            Body::from_stream(ReaderStream::with_capacity(file, 64 << 10))
        };
        let target = format!("/api/v1/images/import?reference={query}");
        args.client.call(Method::POST, &target, Some("application/octet-stream"), body).await
    })?;
    println!("{}", answer["metadata"]["name"].as_str().unwrap_or_default());
    Ok(())
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
