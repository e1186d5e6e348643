//! An archive of images (an OCI layout, or what `docker save` writes) becomes images.

use std::collections::BTreeSet;

use runtime::protocol::LoadedImage;

use super::{Arrival, ImageError, ImageService, ImportLimits};
use crate::crash_point;
use crate::model::image::{ImageLayer, OciImage};
use crate::model::name::Reference;
use crate::node::LayerBody;
use crate::store::{NewImage, PutImage};

#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// What the archive's one image is called, instead of what the archive says.
    pub reference: Option<Reference>,
    /// `linux/arm64`; this machine's when absent.
    pub platform: Option<String>,
    pub limits: ImportLimits,
}

/// What came of an archive.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub images: Vec<PutImage>,
    /// What was left out, for people.
    pub notes: Vec<String>,
}

impl ImageService {
    /// Unpacks every image of an archive: all of them, or none. Images that are here already get what names they lack.
    ///
    /// # Errors
    /// `Layer` when the archive is refused, `Unfit` for a configuration that cannot be used, `Several` when a reference was given for more
    /// than one image; `Store`. Nothing is left behind.
    pub async fn load(&self, request: LoadRequest, body: LayerBody) -> Result<Loaded, ImageError> {
        let mut arrival = self.arrive().await?;
        let outcome = self.load_as(&mut arrival, request, body).await;
        self.arrived(arrival, outcome).await
    }

    async fn load_as(&self, arrival: &mut Arrival<'_>, request: LoadRequest, body: LayerBody) -> Result<Loaded, ImageError> {
        let loaded = self.node.load_archive(request.limits.of(&arrival.intent)?, request.platform, body).await?;
        let layers = loaded.images.iter().flat_map(|image| &image.layers).map(|layer| layer.layer.clone());
        arrival.come.extend(layers.collect::<BTreeSet<_>>());
        crash_point!("image.loaded");
        let mut notes = loaded.notes;
        if request.reference.is_some() && loaded.images.len() != 1 {
            return Err(ImageError::Several(loaded.images.len()));
        }
        let new = loaded.images.into_iter().map(|image| new_image(image, request.reference.as_ref(), &mut notes));
        let new = new.collect::<Result<Vec<_>, _>>()?;
        let images = self.store.put_images(new, Some(&arrival.intent)).await?;
        Ok(Loaded { images, notes })
    }
}

fn new_image(image: LoadedImage, called: Option<&Reference>, notes: &mut Vec<String>) -> Result<NewImage, ImageError> {
    let unfit = |message: String| ImageError::Unfit { image: image.config_digest.clone(), message };
    let oci: OciImage = serde_json::from_str(&image.config).map_err(|error| unfit(format!("its configuration: {error}")))?;
    let id = image.config_digest.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
    let id = id.ok_or_else(|| unfit("it has no sha256 digest".to_owned()))?.to_owned();
    let references = match called {
        Some(reference) => vec![reference.clone()],
        None => names(&image.references, notes),
    };
    let layers = image.layers.iter().map(|layer| ImageLayer { diff_id: format!("sha256:{}", layer.layer), size: layer.size });
    Ok(NewImage {
        id,
        references,
        layers: layers.collect(),
        oci,
        config_json: image.config,
        manifest_digest: image.manifest_digest,
        origin: "loaded".to_owned(),
    })
}

/// What an archive calls an image, normalised. A digest in a name says what the image is, which is known; what is no name is told.
fn names(given: &[String], notes: &mut Vec<String>) -> Vec<Reference> {
    let mut names = Vec::new();
    for text in given {
        match text.parse::<Reference>() {
            Ok(reference) if reference.tag.is_some() => names.push(Reference { digest: None, ..reference }),
            Ok(_) => {}
            Err(error) => notes.push(format!("a name was left out: {error}")),
        }
    }
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_and_what_is_none_is_told() {
        let mut notes = Vec::new();
        let digest = format!("sha256:{}", "a".repeat(64));
        let given = ["busybox", "localhost:5000/a/b:1", "v1.0-RC", &format!("x@{digest}"), &format!("x:2@{digest}")].map(str::to_owned);
        let names: Vec<_> = names(&given, &mut notes).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["docker.io/library/busybox:latest", "localhost:5000/a/b:1", "docker.io/library/x:2"]);
        assert!(notes.len() == 1 && notes[0].contains("v1.0-RC"), "{notes:?}");
    }
}
