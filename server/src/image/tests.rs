//! Images over a fake node.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::*;
use crate::clock::SystemClock;
use crate::fake_node::FakeNode;
use crate::model::image::ImageConfig;
use crate::node::NodeError;
use crate::store::{NewContainer, StoreError};

struct Fixture {
    folder: tempfile::TempDir,
    node: FakeNode,
    images: ImageService,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = FakeNode::new(Arc::new(SystemClock));
        let images = open(&folder, &node).await;
        Fixture { folder, node, images }
    }

    async fn import(&self, reference: &str, body: &'static [u8]) -> Result<(Arc<ImageRecord>, bool), ImageError> {
        let request = ImportRequest { reference: Some(reference.parse().unwrap()), ..ImportRequest::default() };
        self.images.import(request, Box::new(body)).await
    }
}

async fn open(folder: &tempfile::TempDir, node: &FakeNode) -> ImageService {
    let store = Store::open(&folder.path().join("db"), Arc::new(SystemClock)).await.unwrap();
    ImageService::new(store, Arc::new(node.clone()))
}

/// Some bytes, and then the sender is gone.
struct Broken(bool);

impl AsyncRead for Broken {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buffer.put_slice(b"half");
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn the_same_bytes_are_the_same_image() {
    let f = Fixture::new().await;
    let (first, new) = f.import("busybox", b"tar").await.unwrap();
    assert!(new && first.name() == "busybox:latest" && f.images.resolve("busybox").unwrap().id == first.id);
    let (second, new) = f.import("other:1", b"tar").await.unwrap();
    assert!(!new && second.id == first.id && second.references.len() == 2);
    let request = ImportRequest { config: ImageConfig { cmd: vec!["x".to_owned()], ..Default::default() }, ..Default::default() };
    let (third, new) = f.images.import(request, Box::new(&b"tar"[..])).await.unwrap();
    assert!(new && third.id != first.id, "another configuration is another image");
    assert_eq!(f.node.layers().len(), 1, "of the same layer");
}

#[tokio::test]
async fn a_layer_goes_with_its_last_image() {
    let f = Fixture::new().await;
    f.import("a", b"tar").await.unwrap();
    let (image, _) = f.import("b", b"other").await.unwrap();
    f.images.delete("a", false).await.unwrap();
    assert_eq!(f.node.layers().len(), 1);
    f.images.delete(&image.id[..12], false).await.unwrap();
    assert!(f.node.layers().is_empty() && f.images.resolve("b").is_err());
    assert!(matches!(f.images.delete("b", false).await, Err(ImageError::Lookup(Lookup::NotFound { .. }))));
}

#[tokio::test]
async fn an_image_in_use_stays_whole() {
    let f = Fixture::new().await;
    let (image, _) = f.import("a", b"tar").await.unwrap();
    let new = NewContainer {
        name: "web".to_owned(),
        labels: Default::default(),
        annotations: Default::default(),
        spec: Default::default(),
        spec_json: "{}".to_owned(),
        image: image.id.clone(),
    };
    f.images.store.create_container(new).await.unwrap();
    let refused = f.images.delete("a", false).await;
    assert!(matches!(&refused, Err(ImageError::Store(StoreError::InUse { by, .. })) if *by == ["web"]), "{refused:?}");
    assert_eq!((f.node.layers().len(), f.images.resolve("a").unwrap().id.clone()), (1, image.id.clone()));
}

#[tokio::test]
async fn a_refused_or_broken_import_leaves_nothing() {
    let f = Fixture::new().await;
    assert!(matches!(f.import("a", b"bad tar").await, Err(ImageError::Layer(NodeError::Refused(_)))));
    let broken = f.images.import(ImportRequest::default(), Box::new(Broken(false))).await;
    assert!(matches!(broken, Err(ImageError::Layer(NodeError::Body { .. }))));
    assert!(f.node.layers().is_empty() && f.images.store.images().is_empty());
    f.images.store.close().await;
    let again = open(&f.folder, &f.node).await;
    assert!(again.store.interrupted_imports().is_empty());
}

#[tokio::test]
async fn a_broken_import_spares_a_layer_that_an_image_has() {
    let f = Fixture::new().await;
    f.import("a", b"half").await.unwrap();
    f.images.import(ImportRequest::default(), Box::new(Broken(false))).await.unwrap_err();
    assert_eq!(f.node.layers().len(), 1);
}

#[tokio::test]
async fn every_fault_of_a_configuration_is_told_before_a_byte_is_read() {
    let f = Fixture::new().await;
    let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let config = ImageConfig {
        env: strings(&["A=1", "=x", "nothing"]),
        user: "1x".to_owned(),
        working_dir: "relative".to_owned(),
        stop_signal: "NOPE".to_owned(),
        cmd: strings(&["a\0"]),
        ..ImageConfig::default()
    };
    let error = f.images.import(ImportRequest { config, ..Default::default() }, Box::new(&b"tar"[..])).await.unwrap_err();
    let ImageError::Invalid(faults) = error else { panic!("{error:?}") };
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["/config/Env/1", "/config/Env/2", "/config/Cmd/0", "/config/User", "/config/WorkingDir", "/config/StopSignal"]);
    assert_eq!(f.node.count("importLayer"), 0);
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_at_the_next_start() {
    let f = Fixture::new().await;
    f.import("kept", b"tar").await.unwrap();
    // As after a crash between the layer and its row.
    let intent = f.images.store.begin_import().await.unwrap();
    let limits = node_limits(&intent);
    f.images.node.import_layer(limits, Box::new(&b"orphan"[..])).await.unwrap();
    assert_eq!(f.node.layers().len(), 2);
    f.images.store.close().await;

    let images = open(&f.folder, &f.node).await;
    images.sweep().await.unwrap();
    assert_eq!(f.node.layers().len(), 1);
    assert!(images.resolve("kept").is_ok());
    images.store.close().await;
    let scans = f.node.count("diskUsage");
    open(&f.folder, &f.node).await.sweep().await.unwrap();
    assert_eq!(f.node.count("diskUsage"), scans, "the disk is not walked without a reason");
}

/// What a worker would answer for an image of one layer, as the fake takes it.
fn loaded(names: &[&str], config: &str) -> Vec<u8> {
    let layer = "c".repeat(64);
    let config_digest = format!("sha256:{}", crate::store::hex(&<sha2::Sha256 as sha2::Digest>::digest(config)));
    let layers = serde_json::json!([{"layer": layer, "size": 7, "entries": 1, "compressedDigest": "sha256:00"}]);
    let image =
        serde_json::json!({"references": names, "manifestDigest": null, "configDigest": config_digest, "config": config, "layers": layers});
    serde_json::json!([image]).to_string().into_bytes()
}

#[tokio::test]
async fn an_archive_comes_whole_or_not_at_all() {
    let f = Fixture::new().await;
    let load = |body: Vec<u8>, reference: Option<&str>| {
        let reference = reference.map(|text| text.parse().unwrap());
        f.images.load(LoadRequest { reference, ..LoadRequest::default() }, Box::new(io::Cursor::new(body)))
    };
    let good = r#"{"architecture":null,"os":"linux","config":{"User":null,"Cmd":["x"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let unfit = load(loaded(&["a:1"], r#"{"rootfs":{"type":7}}"#), None).await;
    assert!(matches!(unfit, Err(ImageError::Unfit { .. })), "{unfit:?}");
    assert!(f.node.layers().is_empty() && f.images.store.images().is_empty());
    let first = load(loaded(&["a:1", "b:1"], good), None).await.unwrap();
    assert!(first.images[0].1 && first.images[0].0.references.len() == 2);
    let version = f.images.resolve("b:1").unwrap().version;
    let again = load(loaded(&["b:1"], good), None).await.unwrap();
    assert!(!again.images[0].1 && f.images.resolve("a:1").unwrap().version == version, "what is here already is not written again");
    let renamed = load(loaded(&["b:1"], good), Some("c:1")).await.unwrap();
    assert_eq!(renamed.images[0].0.references.len(), 3);
    f.images.store.close().await;
    assert!(open(&f.folder, &f.node).await.store.interrupted_imports().is_empty());
}

fn node_limits(intent: &str) -> crate::node::ImportLimits {
    crate::node::ImportLimits { staging: intent.parse().unwrap(), max_bytes: 1000, max_entries: 10 }
}
