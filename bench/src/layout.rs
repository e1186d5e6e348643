//! An OCI image layout made of a root file system's tar, as a folder and as an archive: for those that take nothing simpler (containerd, umoci).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Fault;

#[derive(Debug)]
pub(crate) struct Layout {
    /// The layout as a folder, for `umoci --image FOLDER:latest`.
    pub(crate) folder: PathBuf,
    /// The same as a tar.
    pub(crate) archive: PathBuf,
    /// The packed layer alone.
    pub(crate) layer: PathBuf,
}

/// `reference` is the image's full name, with which containerd finds it.
pub(crate) fn make(at: &Path, reference: &str, tar: &[u8]) -> Result<Layout, Fault> {
    let folder = at.join("layout");
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let store = |media_type: &str, content: &[u8]| -> Result<Value, Fault> {
        let digest = hex(content);
        fs::write(blobs.join(&digest), content)?;
        Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len()}))
    };
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(tar)?;
    let packed = packed.finish()?;
    let layer = store("application/vnd.oci.image.layer.v1.tar+gzip", &packed)?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(tar))]},
    });
    let config = store("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let manifest =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]});
    let mut manifest = store("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())?;
    manifest["annotations"] = json!({"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": "latest"});
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)?;
    let archive = at.join("layout.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive)?);
    builder.append_dir_all("", &folder)?;
    builder.finish()?;
    Ok(Layout { layer: blobs.join(hex(&packed)), folder, archive })
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
