//! Which images an archive holds: an OCI image layout, or what `docker save` writes. Pure: it reads by name what somebody else has put by.
//!
//! ```text
//!  OCI layout                                   docker archive
//!  index.json -> manifest -> config             manifest.json -> config
//!             \-> index /  \-> layers                        \-> layers (may be links to one another)
//!  all but index.json under blobs/sha256/<digest>, and checked against it
//! ```
//!
//! `docker save` has written both at once since version 25; the layout is taken then, as its digests can be checked, and the names come
//! from either. Nothing is ever fetched: what the archive lacks is an error, whatever URLs a descriptor has.
//!
//! See the OCI image specification, image-layout.md and annotations.md; Docker image specification v1.2, "Combined Image JSON + Filesystem
//! Changeset Format".

use std::collections::BTreeMap;

use serde::Deserialize;

use super::config::{Image, MOST_JSON, short};
use super::error::ImageError;
use super::manifest::{Descriptor, Index, Kind, Manifest, Platform};
use crate::id::LayerId;

/// The files of an archive, by name; links among them are followed.
pub trait Blobs {
    /// None when there is no such file.
    fn look(&self, name: &str) -> Option<Blob>;
    /// The whole file, which `look` has told to be small.
    fn read(&self, name: &str) -> Result<Vec<u8>, ImageError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub size: u64,
    /// The 64 digits of its sha256.
    pub digest: String,
}

/// An image as the archive describes it. That its layers are what they are said to be shows when they are unpacked.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedImage {
    /// As written there: full references, or only a tag (`org.opencontainers.image.ref.name`). Printable ASCII of at most 255 bytes each.
    pub references: Vec<String>,
    /// `sha256:…`; None for a docker archive, which has no manifests.
    pub manifest_digest: Option<String>,
    /// `sha256:…`: the image's id.
    pub config_digest: String,
    /// The configuration's own bytes.
    pub config: String,
    /// Lowest first.
    pub layers: Vec<PlannedLayer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLayer {
    /// Its file in the archive.
    pub name: String,
    pub layer: LayerId,
}

const MOST_IMAGES: usize = 256;

/// The most bytes of all configurations together: they are answered in one frame.
const MOST_CONFIGS: usize = 1 << 20;

/// How deep indexes may be nested: a list of images, each a list of platforms, is two.
const MOST_DEPTH: usize = 3;

/// Finds every image in the archive; of those that come for several platforms the one for `platform`.
pub fn plan(blobs: &impl Blobs, platform: &Platform) -> Result<Vec<PlannedImage>, ImageError> {
    let mut planner = Planner { blobs, platform, images: Vec::new(), configs: 0, layers: BTreeMap::new() };
    let docker = if blobs.look("manifest.json").is_some() { docker_entries(blobs)? } else { Vec::new() };
    if blobs.look("index.json").is_some() {
        let index = json(blobs, "index.json", Index::parse)?;
        planner.index("index.json", &index, 1, &[])?;
        let tags: BTreeMap<_, _> = docker.iter().filter_map(|entry| Some((blobs.look(&entry.config)?.digest, &entry.repo_tags))).collect();
        for image in &mut planner.images {
            if image.references.is_empty()
                && let Some(Some(tags)) = tags.get(image.config_digest.trim_start_matches("sha256:"))
            {
                image.references = tags.iter().map(|tag| reference("manifest.json", tag)).collect::<Result<_, _>>()?;
            }
        }
    } else {
        docker.iter().try_for_each(|entry| planner.docker(entry))?;
    }
    if planner.images.is_empty() {
        return Err(ImageError::archive(b"", "no image in it: neither an OCI layout (index.json) nor a docker archive (manifest.json)"));
    }
    Ok(planner.images)
}

/// One image of a docker archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn docker_entries(blobs: &impl Blobs) -> Result<Vec<DockerEntry>, ImageError> {
    json(blobs, "manifest.json", |raw| serde_json::from_slice(raw).map_err(|error| format!("not a docker archive's manifest: {error}")))
}

/// Reads and parses a small file of the archive.
fn json<T>(blobs: &impl Blobs, name: &str, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, ImageError> {
    let bad = |message: String| ImageError::archive(name.as_bytes(), message);
    let blob = blobs.look(name).ok_or_else(|| bad("it is not in the archive".to_owned()))?;
    if blob.size > MOST_JSON {
        return Err(bad(format!("{} bytes are over the limit of {MOST_JSON}", blob.size)));
    }
    parse(&blobs.read(name)?).map_err(bad)
}

fn reference(entry: &str, text: &str) -> Result<String, ImageError> {
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ImageError::archive(entry.as_bytes(), format!("{:?} is not an image's name", short(text))));
    }
    Ok(text.to_owned())
}

struct Planner<'a, B> {
    blobs: &'a B,
    platform: &'a Platform,
    images: Vec<PlannedImage>,
    configs: usize,
    /// What each layer file is said to be, by the digest of the file.
    layers: BTreeMap<String, LayerId>,
}

impl<B: Blobs> Planner<'_, B> {
    /// The top index is a list of images; one below it is one image for several platforms.
    fn index(&mut self, entry: &str, index: &Index, depth: usize, names: &[String]) -> Result<(), ImageError> {
        if depth > MOST_DEPTH {
            return Err(ImageError::archive(entry.as_bytes(), "indexes are nested too deeply"));
        }
        if depth > 1 {
            return self.descriptor(entry, self.select(entry, index)?, depth, names);
        }
        // Some builders list one image's platforms right here: what has the same name and names its platform.
        let mut alike: BTreeMap<Vec<String>, Vec<Descriptor>> = BTreeMap::new();
        let mut images = Vec::new();
        for descriptor in index.manifests.iter().filter(|descriptor| !descriptor.is_attachment()) {
            let names = annotated_names(entry, descriptor)?;
            match descriptor.platform {
                Some(_) => alike.entry(names).or_default().push(descriptor.clone()),
                None => images.push((names, descriptor.clone())),
            }
        }
        for (names, manifests) in alike {
            let chosen = match manifests.as_slice() {
                [only] => only.clone(),
                _ => self.select(entry, &Index { manifests })?.clone(),
            };
            images.push((names, chosen));
        }
        images.iter().try_for_each(|(names, descriptor)| self.descriptor(entry, descriptor, depth, names))
    }

    fn select<'i>(&self, entry: &str, index: &'i Index) -> Result<&'i Descriptor, ImageError> {
        index.select(self.platform).ok_or_else(|| {
            let message = format!("no image for {} in it; it has {}", self.platform, index.platforms());
            ImageError::archive(entry.as_bytes(), message)
        })
    }

    fn descriptor(&mut self, entry: &str, descriptor: &Descriptor, depth: usize, names: &[String]) -> Result<(), ImageError> {
        let name = self.checked(entry, descriptor)?;
        match descriptor.kind() {
            Kind::Index => {
                let index = json(self.blobs, &name, Index::parse)?;
                self.index(&name, &index, depth + 1, names)
            }
            Kind::Manifest => {
                let manifest = json(self.blobs, &name, Manifest::parse)?;
                let config = self.checked(&name, &manifest.config)?;
                let layers = manifest.layers.iter().map(|layer| self.checked(&name, layer)).collect::<Result<_, _>>()?;
                self.add(names.to_vec(), Some(descriptor.digest.clone()), &config, layers)
            }
            Kind::Other => {
                let message = format!("an entry of the unknown type {:?}", short(&descriptor.media_type));
                Err(ImageError::archive(entry.as_bytes(), message))
            }
        }
    }

    /// The file that a descriptor stands for, after its size and digest have been found right.
    fn checked(&self, entry: &str, descriptor: &Descriptor) -> Result<String, ImageError> {
        let digits = descriptor.digits().map_err(|message| ImageError::archive(entry.as_bytes(), message))?;
        let name = format!("blobs/sha256/{digits}");
        let bad = |message: String| ImageError::archive(name.as_bytes(), message);
        let blob = self.blobs.look(&name).ok_or_else(|| bad("it is not in the archive".to_owned()))?;
        if blob.size != descriptor.size {
            return Err(bad(format!("it is {} bytes long, and {} by its descriptor", blob.size, descriptor.size)));
        }
        if blob.digest != digits {
            return Err(bad(format!("its digest is sha256:{}", blob.digest)));
        }
        Ok(name)
    }

    fn docker(&mut self, entry: &DockerEntry) -> Result<(), ImageError> {
        let tags = entry.repo_tags.iter().flatten().map(|tag| reference("manifest.json", tag)).collect::<Result<_, _>>()?;
        // A name that is a digest must be that of the content.
        let stem = entry.config.rsplit('/').next().unwrap_or_default();
        let stem = stem.strip_suffix(".json").unwrap_or(stem);
        let is_digest = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(blob) = self.blobs.look(&entry.config)
            && is_digest
            && blob.digest != stem
        {
            return Err(ImageError::archive(entry.config.as_bytes(), format!("its digest is sha256:{}", blob.digest)));
        }
        self.add(tags, None, &entry.config, entry.layers.clone().unwrap_or_default())
    }

    fn add(&mut self, names: Vec<String>, manifest: Option<String>, config: &str, layers: Vec<String>) -> Result<(), ImageError> {
        let bad = |message: String| ImageError::archive(config.as_bytes(), message);
        let raw = json(self.blobs, config, |raw| String::from_utf8(raw.to_vec()).map_err(|error| error.to_string()))?;
        let ids = Image::parse(raw.as_bytes()).and_then(|image| image.layers()).map_err(bad)?;
        if ids.len() != layers.len() {
            return Err(bad(format!("it speaks of {} layers, and there are {}", ids.len(), layers.len())));
        }
        for (name, id) in layers.iter().zip(&ids) {
            let missing = || ImageError::archive(name.as_bytes(), "it is not in the archive");
            let file = self.blobs.look(name).ok_or_else(missing)?;
            if self.layers.entry(file.digest).or_insert_with(|| id.clone()) != id {
                return Err(ImageError::archive(name.as_bytes(), "it is two different layers by the images' configurations"));
            }
        }
        let digest = self.blobs.look(config).map(|blob| format!("sha256:{}", blob.digest)).unwrap_or_default();
        // One image under several names may be listed once for each.
        if let Some(known) = self.images.iter_mut().find(|image| image.config_digest == digest) {
            known.references.extend(names);
            known.references.sort();
            known.references.dedup();
            return Ok(());
        }
        self.configs += raw.len();
        if self.images.len() >= MOST_IMAGES || self.configs > MOST_CONFIGS {
            return Err(bad(format!("more than {MOST_IMAGES} images, or {MOST_CONFIGS} bytes of configurations, in one archive")));
        }
        let layers = layers.into_iter().zip(ids).map(|(name, layer)| PlannedLayer { name, layer }).collect();
        self.images.push(PlannedImage { references: names, manifest_digest: manifest, config_digest: digest, config: raw, layers });
        Ok(())
    }
}

/// containerd's annotation has the full reference; the specification's own may be no more than a tag.
fn annotated_names(entry: &str, descriptor: &Descriptor) -> Result<Vec<String>, ImageError> {
    let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"].iter().find_map(|key| descriptor.annotations.get(*key));
    name.map(|name| reference(entry, name)).into_iter().collect()
}

/// What this program was built for, in the words of Go.
pub fn host_platform() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", ""),
        "aarch64" => ("arm64", ""),
        "arm" => ("arm", "v7"),
        "x86" => ("386", ""),
        "powerpc64" => ("ppc64le", ""),
        other => (other, ""),
    };
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
