//! Archives as maps of names to bytes: honest ones of both forms, and ones that lie. E83 and E84 of the hardening checks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::image::testing::sha256;

#[derive(Default, Clone)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Blobs for Files {
    fn look(&self, name: &str) -> Option<Blob> {
        self.0.get(name).map(|bytes| Blob { size: bytes.len() as u64, digest: sha256(bytes) })
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        Ok(self.0[name].clone())
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Files {
    fn put(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.0.insert(name.to_owned(), content.into());
    }

    /// A blob under its digest; its descriptor.
    fn blob(&mut self, kind: &str, content: &str, more: &str) -> String {
        let digest = sha256(content.as_bytes());
        self.put(&format!("blobs/sha256/{digest}"), content);
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{digest}","size":{}{more}}}"#, content.len())
    }

    /// An image of one layer; the descriptor of its manifest.
    fn image(&mut self, layer: &str, more: &str) -> String {
        let config = self.blob("application/vnd.oci.image.config.v1+json", &config(layer), "");
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar", layer, "");
        self.blob(MANIFEST, &format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#), more)
    }

    fn index(&mut self, manifests: &[String]) {
        self.put("index.json", format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, manifests.join(",")));
        self.put("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    }
}

fn config(layer: &str) -> String {
    format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#, sha256(layer.as_bytes()))
}

fn amd64() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() }
}

fn refusal(files: &Files) -> (String, String) {
    match plan(files, &amd64()) {
        Err(ImageError::Archive { entry, message }) => (entry, message),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_layout_with_several_images() {
    let mut files = Files::default();
    let named = r#","annotations":{"io.containerd.image.name":"docker.io/library/a:1","org.opencontainers.image.ref.name":"1"}"#;
    let tagged = r#","annotations":{"org.opencontainers.image.ref.name":"latest"}"#;
    let again = r#","annotations":{"io.containerd.image.name":"docker.io/library/a:2"}"#;
    let manifests = [files.image("a", named), files.image("b", tagged), files.image("a", again)];
    files.index(&manifests);
    let images = plan(&files, &amd64()).unwrap();
    let references: Vec<_> = images.iter().map(|image| image.references.clone()).collect();
    assert_eq!(references, [vec!["docker.io/library/a:1", "docker.io/library/a:2"], vec!["latest"]]);
    assert_eq!(images[0].config, config("a"));
    assert_eq!(images[0].config_digest, format!("sha256:{}", sha256(config("a").as_bytes())));
    assert_eq!(images[0].layers, [PlannedLayer { name: format!("blobs/sha256/{}", sha256(b"a")), layer: sha256(b"a").parse().unwrap() }]);
    assert!(images[0].manifest_digest.as_ref().is_some_and(|digest| manifests[0].contains(digest)));
}

#[test]
fn of_several_platforms_the_hosts_is_taken() {
    let mut files = Files::default();
    let platform = |architecture: &str| format!(r#","platform":{{"os":"linux","architecture":"{architecture}"}}"#);
    let (arm, amd) = (files.image("arm", &platform("arm64")), files.image("amd", &platform("amd64")));
    let statement = files.image("statement", r#","platform":{"os":"unknown","architecture":"unknown"}"#);
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{arm},{statement},{amd}]}}"#);
    let index = files.blob(INDEX, &text, r#","annotations":{"io.containerd.image.name":"docker.io/library/a:1"}"#);
    files.index(&[index]);
    // The other platform's blobs need not be there.
    files.0.remove(&format!("blobs/sha256/{}", sha256(b"arm")));
    let images = plan(&files, &amd64()).unwrap();
    assert_eq!((images.len(), images[0].config.as_str()), (1, config("amd").as_str()));
    assert_eq!(images[0].references, ["docker.io/library/a:1"]);
    let error = plan(&files, &Platform { architecture: "riscv64".into(), ..amd64() }).unwrap_err().to_string();
    assert!(error.contains("no image for linux/riscv64") && error.contains("linux/arm64, linux/amd64"), "{error}");
}

#[test]
fn what_docker_saves_is_read() {
    let mut files = Files::default();
    let name = format!("{}.json", sha256(config("a").as_bytes()));
    files.put(&name, config("a"));
    files.put("1234/layer.tar", "a");
    files.put("manifest.json", format!(r#"[{{"Config":"{name}","RepoTags":["a:1","b:2"],"Layers":["1234/layer.tar"]}}]"#));
    let images = plan(&files, &amd64()).unwrap();
    assert_eq!(images[0].references, ["a:1", "b:2"]);
    assert_eq!((images[0].manifest_digest.as_ref(), images[0].layers[0].name.as_str()), (None, "1234/layer.tar"));
    files.put("manifest.json", format!(r#"[{{"Config":"{name}","RepoTags":null,"Layers":["1234/layer.tar"]}}]"#));
    assert!(plan(&files, &amd64()).unwrap()[0].references.is_empty());
    // Both forms at once, the names in the older one.
    let manifest = files.image("a", "");
    files.index(&[manifest]);
    files.put("manifest.json", format!(r#"[{{"Config":"{name}","RepoTags":["a:1"],"Layers":["1234/layer.tar"]}}]"#));
    let images = plan(&files, &amd64()).unwrap();
    assert!(images[0].manifest_digest.is_some());
    assert_eq!(images[0].references, ["a:1"]);
}

/// E83
#[test]
fn digests_and_sizes_that_lie_are_refused() {
    let mut honest = Files::default();
    let manifest = honest.image("layer", "");
    honest.index(std::slice::from_ref(&manifest));
    plan(&honest, &amd64()).unwrap();
    for name in honest.0.keys().filter(|name| name.starts_with("blobs/")) {
        let mut files = honest.clone();
        files.0.remove(name);
        assert_eq!(refusal(&files), (name.clone(), "it is not in the archive".to_owned()));
        let mut files = honest.clone();
        files.0.get_mut(name).unwrap()[0] ^= 1;
        let (entry, message) = refusal(&files);
        assert!(&entry == name && message.contains("digest"), "{message}");
        let mut files = honest.clone();
        files.0.get_mut(name).unwrap().push(b' ');
        assert!(refusal(&files).1.contains("by its descriptor"));
    }
    let mut files = Files::default();
    files.put(&format!("{}.json", "a".repeat(64)), config("a"));
    files.put("l", "a");
    files.put("manifest.json", format!(r#"[{{"Config":"{}.json","Layers":["l"]}}]"#, "a".repeat(64)));
    assert!(refusal(&files).1.contains("digest"));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let docker = |manifest: &str| {
        let mut files = Files::default();
        files.put("c.json", config("a"));
        files.put("l", "a");
        files.put("large.json", vec![b' '; 5 << 20]);
        files.put("manifest.json", manifest);
        refusal(&files)
    };
    for (manifest, entry, says) in [
        (r#"[{"Config":"c.json","Layers":["l","l"]}]"#, "c.json", "speaks of 1 layers, and there are 2"),
        (r#"[{"Config":"c.json","Layers":null}]"#, "c.json", "speaks of 1 layers, and there are 0"),
        (r#"[{"Config":"c.json","Layers":["../l"]}]"#, "../l", "not in the archive"),
        (r#"[{"Config":"../../etc/passwd","Layers":["l"]}]"#, "../../etc/passwd", "not in the archive"),
        (r#"[{"Config":"l","Layers":["l"]}]"#, "l", "not an image configuration"),
        (r#"[{"Config":"large.json","Layers":["l"]}]"#, "large.json", "over the limit"),
        (r#"[{"Config":"c.json","Layers":["l"],"RepoTags":["a b"]}]"#, "manifest.json", "not an image's name"),
        (r#"[{"Config":"c.json","Layers":["l"],"RepoTags":["a\nb"]}]"#, "manifest.json", "not an image's name"),
        ("{}", "manifest.json", "not a docker archive"),
        ("[]", "", "no image in it"),
    ] {
        let (named, message) = docker(manifest);
        assert!(named == entry && message.contains(says), "{manifest}: {named}: {message}");
    }
    assert!(refusal(&Files::default()).1.contains("neither"));
    // Indexes in indexes, without end.
    let mut files = Files::default();
    let mut inner = files.image("a", r#","platform":{"os":"linux","architecture":"amd64"}"#);
    for _ in 0..4 {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{inner}]}}"#);
        inner = files.blob(INDEX, &text, r#","platform":{"os":"linux","architecture":"amd64"}"#);
    }
    files.index(&[inner]);
    assert!(refusal(&files).1.contains("nested"));
    let mut files = Files::default();
    let artifact = files.blob("application/vnd.example", "x", "");
    files.index(&[artifact]);
    assert!(refusal(&files).1.contains("unknown type"));
}

proptest! {
    #[test]
    fn garbage_never_panics(index: Vec<u8>, manifest: Vec<u8>) {
        let mut files = Files::default();
        files.put("index.json", index);
        let _ = plan(&files, &amd64());
        let mut files = Files::default();
        files.put("manifest.json", manifest);
        let _ = plan(&files, &amd64());
    }
}
