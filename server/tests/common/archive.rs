//! Archives of images, put together by hand: OCI layouts and what `docker save` writes, right and wrong.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::image::Tar;

/// An image that is to be put into an archive.
#[derive(Clone)]
pub(crate) struct Image {
    /// Plain tars, lowest first.
    pub(crate) layers: Vec<Vec<u8>>,
    /// The `config` object.
    pub(crate) config: Value,
    pub(crate) architecture: &'static str,
    pub(crate) names: Vec<String>,
}

impl Image {
    pub(crate) fn new(name: &str, layers: Vec<Vec<u8>>) -> Self {
        Image { layers, config: json!({"Cmd": ["true"]}), architecture: host_architecture(), names: vec![name.to_owned()] }
    }

    pub(crate) fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// The whole configuration, as bytes.
    pub(crate) fn document(&self) -> Vec<u8> {
        let ids: Vec<_> = self.layers.iter().map(|layer| digest(layer)).collect();
        let rootfs = json!({"type": "layers", "diff_ids": ids});
        json!({"architecture": self.architecture, "os": "linux", "config": self.config, "rootfs": rootfs}).to_string().into_bytes()
    }
}

pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// As `docker save` before version 25 wrote it.
pub(crate) fn docker(images: &[Image]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut entries = Vec::new();
    for image in images {
        let document = image.document();
        let config = format!("{}.json", &digest(&document)[7..]);
        let names: Vec<_> = image.layers.iter().map(|layer| format!("{}.tar", &digest(layer)[7..])).collect();
        tar = tar.file(&config, 0o644, &document);
        for (name, layer) in names.iter().zip(&image.layers) {
            tar = tar.file(name, 0o644, layer);
        }
        entries.push(json!({"Config": config, "RepoTags": image.names, "Layers": names}));
    }
    tar.file("manifest.json", 0o644, json!(entries).to_string().as_bytes()).finish()
}

/// An OCI layout; `pack` compresses each layer, and `kind` is how its media type ends (`+gzip`, `+zstd`, nothing).
pub(crate) fn oci(images: &[Image], kind: &str, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut layout = Layout::default();
    let manifests: Vec<Value> = images.iter().map(|image| layout.image(image, kind, &pack)).collect();
    layout.finish(&manifests)
}

/// One name for an image of several platforms.
pub(crate) fn multi_platform(name: &str, images: &[Image]) -> Vec<u8> {
    let mut layout = Layout::default();
    let mut manifests: Vec<Value> = images.iter().map(|image| layout.image(image, "", &<[u8]>::to_vec)).collect();
    for (manifest, image) in manifests.iter_mut().zip(images) {
        manifest["platform"] = json!({"os": "linux", "architecture": image.architecture});
        manifest["annotations"] = json!({});
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes();
    let mut descriptor = layout.blob("application/vnd.oci.image.index.v1+json", index);
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    layout.finish(&[descriptor])
}

#[derive(Default)]
struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
}

impl Layout {
    fn blob(&mut self, kind: &str, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest(&bytes), bytes.len());
        let path = format!("blobs/sha256/{}", &digest[7..]);
        if !self.blobs.iter().any(|(known, _)| *known == path) {
            self.blobs.push((path, bytes));
        }
        json!({"mediaType": kind, "digest": digest, "size": size})
    }

    fn image(&mut self, image: &Image, kind: &str, pack: &impl Fn(&[u8]) -> Vec<u8>) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", image.document());
        let media = format!("application/vnd.oci.image.layer.v1.tar{kind}");
        let layers: Vec<_> = image.layers.iter().map(|layer| self.blob(&media, pack(layer))).collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string().into_bytes();
        let mut descriptor = self.blob("application/vnd.oci.image.manifest.v1+json", manifest);
        if let Some(name) = image.names.first() {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        descriptor
    }

    fn finish(self, manifests: &[Value]) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        let tar = Tar::new().file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", 0o644, index.as_bytes());
        self.blobs.iter().fold(tar, |tar, (path, bytes)| tar.file(path, 0o644, bytes)).finish()
    }
}
