//! Indexes, manifests and descriptors, as registries and archives carry them.
//!
//! See the OCI image specification, manifest.md, image-index.md and descriptor.md, and Docker's "Image Manifest Version 2, Schema 2".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{MOST_LAYERS, sha256_digits, short};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The most entries of one index.
const MOST_MANIFESTS: usize = 1024;

/// What a digest stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    /// `sha256:` and 64 digits; checked by [`Descriptor::digits`].
    pub digest: String,
    /// In bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    pub os: String,
    /// As in GOARCH: `amd64`, `arm64`.
    pub architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// Of `linux/arm64` or `linux/arm/v7`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = |part: &&str| {
            !part.is_empty() && part.len() <= 32 && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            _ if !parts.iter().all(word) => {}
            ["linux", architecture] => {
                return Ok(Platform { os: "linux".to_owned(), architecture: (*architecture).to_owned(), variant: String::new() });
            }
            ["linux", architecture, variant] => {
                return Ok(Platform { os: "linux".to_owned(), architecture: (*architecture).to_owned(), variant: (*variant).to_owned() });
            }
            _ => {}
        }
        Err(format!("{:?} is not a platform such as linux/amd64 or linux/arm/v7", short(text)))
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", short(&self.os), short(&self.architecture))?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", short(&self.variant)) }
    }
}

impl Descriptor {
    /// The digits of its digest.
    pub fn digits(&self) -> Result<&str, String> {
        sha256_digits(&self.digest)
    }

    pub fn kind(&self) -> Kind {
        match self.media_type.as_str() {
            OCI_INDEX | DOCKER_INDEX => Kind::Index,
            OCI_MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
            _ => Kind::Other,
        }
    }

    /// Something about an image (a provenance statement, a signature) that is carried like an image and is none.
    pub fn is_attachment(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Index,
    Manifest,
    Other,
}

/// A list of images, or of one image's versions for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub manifests: Vec<Descriptor>,
}

/// One image: its configuration and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// Both kinds at once, as one text could be taken for either (CVE-2021-41190).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

fn parse(raw: &[u8], what: &str, kinds: [&str; 2]) -> Result<Either, String> {
    let either: Either = serde_json::from_slice(raw).map_err(|error| format!("not {what}: {error}"))?;
    if either.schema_version != 2 {
        return Err(format!("schemaVersion {} is not supported", either.schema_version));
    }
    if either.manifests.is_some() && (either.layers.is_some() || either.config.is_some()) {
        return Err("an index and a manifest in one: has both manifests and layers or config".to_owned());
    }
    if !either.media_type.is_empty() && !kinds.contains(&either.media_type.as_str()) {
        return Err(format!("its mediaType is {:?}, which is not that of {what}", short(&either.media_type)));
    }
    Ok(either)
}

impl Index {
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        let either = parse(raw, "an index", [OCI_INDEX, DOCKER_INDEX])?;
        let manifests = either.manifests.ok_or("not an index: has no manifests")?;
        if manifests.len() > MOST_MANIFESTS {
            return Err(format!("{} manifests are over the limit of {MOST_MANIFESTS}", manifests.len()));
        }
        Ok(Index { manifests })
    }

    /// The image for a platform: the best of those for this operating system and architecture. None when there is none.
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let fits = |descriptor: &&Descriptor| {
            descriptor.kind() != Kind::Other
                && !descriptor.is_attachment()
                && descriptor.platform.as_ref().is_some_and(|p| p.os == wanted.os && p.architecture == wanted.architecture)
        };
        let variant = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_some_and(|p| p.variant == wanted.variant);
        let mut fitting = self.manifests.iter().filter(fits);
        self.manifests.iter().filter(fits).find(variant).or_else(|| fitting.next())
    }

    /// The platforms that it has images for, for a message.
    pub fn platforms(&self) -> String {
        let names = self.manifests.iter().filter(|d| !d.is_attachment()).filter_map(|d| d.platform.as_ref());
        let names: Vec<_> = names.take(20).map(ToString::to_string).collect();
        if names.is_empty() { "none that it names".to_owned() } else { names.join(", ") }
    }
}

impl Manifest {
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        let either = parse(raw, "a manifest", [OCI_MANIFEST, DOCKER_MANIFEST])?;
        let (Some(config), Some(layers)) = (either.config, either.layers) else {
            return Err("not a manifest: lacks config or layers".to_owned());
        };
        if !matches!(config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
            return Err(format!("its configuration is of type {:?}: an artifact, not an image", short(&config.media_type)));
        }
        if layers.len() > MOST_LAYERS {
            return Err(format!("{} layers are over the limit of {MOST_LAYERS}", layers.len()));
        }
        config.digits()?;
        layers.iter().try_for_each(|layer| layer.digits().map(drop))?;
        Ok(Manifest { config, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor(kind: &str, more: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":7{more}}}"#, "a".repeat(64))
    }

    #[test]
    fn manifests_of_both_dialects() {
        for (kind, config) in [(OCI_MANIFEST, OCI_CONFIG), (DOCKER_MANIFEST, DOCKER_CONFIG)] {
            let layer = descriptor("application/vnd.oci.image.layer.v1.tar+zstd", "");
            let text = format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{},"layers":[{layer}]}}"#, descriptor(config, ""));
            let manifest = Manifest::parse(text.as_bytes()).unwrap();
            assert_eq!((manifest.layers.len(), manifest.config.size), (1, 7));
            assert!(Index::parse(text.as_bytes()).is_err());
        }
    }

    #[test]
    fn what_could_be_taken_for_two_things_is_refused() {
        let config = descriptor(OCI_CONFIG, "");
        for text in [
            format!(r#"{{"schemaVersion":2,"manifests":[],"layers":[],"config":{config}}}"#),
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","layers":[],"config":{config}}}"#),
            format!(r#"{{"schemaVersion":1,"layers":[],"config":{config}}}"#),
            format!(r#"{{"schemaVersion":2,"layers":[],"config":{}}}"#, descriptor("application/vnd.cncf.helm.config.v1+json", "")),
            format!(r#"{{"schemaVersion":2,"layers":[],"config":{}}}"#, config.replace("sha256", "md5")),
            format!(r#"{{"schemaVersion":2,"layers":[],"config":{}}}"#, config.replace("\"size\":7", "\"size\":-7")),
            format!(r#"{{"schemaVersion":2,"layers":[{}],"config":{config}}}"#, vec![config.as_str(); 128].join(",")),
        ] {
            assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[],"config":{config}}}"#).as_bytes()).is_err());
    }

    #[test]
    fn platforms_are_read_as_they_are_written() {
        for text in ["linux/amd64", "linux/arm/v7", "linux/riscv64"] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "linux", "amd64", "linux/", "windows/amd64", "linux/arm/v7/x", "linux/AMD64", "linux/a b", "linux//v7"] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_platform_is_chosen_and_attachments_are_not() {
        let of = |os: &str, architecture: &str, variant: &str, more: &str| {
            let platform = format!(r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}{more}"#);
            descriptor(OCI_MANIFEST, &platform)
        };
        let attached = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
        let list = [
            of("linux", "amd64", "", attached),
            of("unknown", "unknown", "", ""),
            of("linux", "arm", "v6", ""),
            of("linux", "arm", "v7", ""),
            of("linux", "amd64", "", ""),
        ];
        let index = Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, list.join(",")).as_bytes()).unwrap();
        let select = |architecture: &str, variant: &str| {
            let wanted = Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.into() };
            index.manifests.iter().position(|manifest| Some(manifest) == index.select(&wanted))
        };
        assert_eq!(
            (select("amd64", ""), select("arm", "v7"), select("arm", "v9"), select("riscv64", "")),
            (Some(4), Some(3), Some(2), None)
        );
        assert_eq!(index.platforms(), "linux/arm/v6, linux/arm/v7, linux/amd64");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(raw: Vec<u8>) {
            let _ = (Index::parse(&raw), Manifest::parse(&raw));
        }
    }
}
