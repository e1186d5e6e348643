//! A root file system as a tar becomes an image of one layer.

use runtime::id::LayerId;
use sha2::{Digest, Sha256};

use super::{ImageError, ImageService};
use crate::crash_point;
use crate::model::image::{Healthcheck, ImageConfig, ImageLayer, OciImage, OciRootfs};
use crate::model::name::Reference;
use crate::model::signal;
use crate::model::validate::{Faults, check_user};
use crate::node::{self, LayerBody, NodeError};
use crate::store::{ImageRecord, NewImage};

/// How much one layer may be, unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportLimits {
    pub max_bytes: u64,
    pub max_entries: u64,
}

impl Default for ImportLimits {
    /// 32 GiB and two million entries: beyond any real root file system.
    fn default() -> Self {
        ImportLimits { max_bytes: 32 << 30, max_entries: 2_000_000 }
    }
}

#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    pub reference: Option<Reference>,
    /// How to run what is in it.
    pub config: ImageConfig,
    /// As in the OCI image specification (`amd64`); empty is this machine's.
    pub architecture: String,
    pub limits: ImportLimits,
}

impl ImageService {
    /// Unpacks `body` and makes an image of it. The flag says whether the image is new; the same bytes with the same configuration are the
    /// same image.
    ///
    /// # Errors
    /// `Invalid` with each rule that the configuration breaks; `Layer` when the tar is refused; `Store`. Nothing is left behind.
    pub async fn import(&self, request: ImportRequest, body: LayerBody) -> Result<(std::sync::Arc<ImageRecord>, bool), ImageError> {
        check(&request.config)?;
        let guard = self.layers.read().await;
        let intent = self.store.begin_import().await?;
        let outcome = self.import_as(&intent, request, body).await;
        if let Err(error) = &outcome {
            tracing::info!(%error, "import failed");
            if let Err(error) = self.store.forget_intent(&intent).await {
                tracing::warn!(%error, intent, "an intent stays until the next start");
            }
        }
        drop(guard);
        self.collect_garbage().await;
        outcome
    }

    async fn import_as(
        &self,
        intent: &str,
        request: ImportRequest,
        body: LayerBody,
    ) -> Result<(std::sync::Arc<ImageRecord>, bool), ImageError> {
        let staging = intent.parse().map_err(|_| ImageError::Layer(NodeError::unexpected("begin_import")))?;
        let limits = node::ImportLimits { staging, max_bytes: request.limits.max_bytes, max_entries: request.limits.max_entries };
        let imported = match self.node.import_layer(limits, body).await {
            Ok(imported) => imported,
            Err(error) => {
                if let NodeError::Body { layer: Some(layer), .. } = &error {
                    self.drop_unknown_layer(layer).await;
                }
                return Err(ImageError::Layer(error));
            }
        };
        crash_point!("image.imported");
        let diff_id = format!("sha256:{}", imported.layer);
        let oci = OciImage {
            created: Some(self.store.clock().now()),
            architecture: if request.architecture.is_empty() { host_architecture().to_owned() } else { request.architecture },
            os: "linux".to_owned(),
            config: request.config,
            rootfs: OciRootfs { kind: "layers".to_owned(), diff_ids: vec![diff_id.clone()] },
        };
        // The time is for people and not a part of what the image is: the same bytes are the same image at any time.
        let config_json = serde_json::to_string(&OciImage { created: None, ..oci.clone() }).map_err(ImageError::Encode)?;
        let new = NewImage {
            id: crate::store::hex(&Sha256::digest(config_json.as_bytes())),
            reference: request.reference,
            layers: vec![ImageLayer { diff_id, size: imported.size }],
            oci: OciImage { created: None, ..oci },
            config_json,
            origin: "imported".to_owned(),
            intent: Some(intent.to_owned()),
        };
        let stored = self.store.put_image(new).await;
        if stored.is_err() {
            self.drop_unknown_layer(&imported.layer).await;
        }
        Ok(stored?)
    }

    /// A layer that came to be without an image; when another image has the same one, it stays.
    async fn drop_unknown_layer(&self, layer: &LayerId) {
        if self.store.knows_layer(layer.as_str()) {
            return;
        }
        if let Err(error) = self.node.remove_layer(layer.clone()).await {
            tracing::warn!(%layer, %error, "a layer without an image stays until the next start");
        }
    }
}

/// What the user says of an image is checked as what he says of a container.
fn check(config: &ImageConfig) -> Result<(), ImageError> {
    let mut faults = Faults::default();
    for (index, line) in config.env.iter().enumerate() {
        if line.contains('\0') || line.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            faults.add(format!("/config/Env/{index}"), "must be NAME=value");
        }
    }
    for (field, list) in [("Entrypoint", &config.entrypoint), ("Cmd", &config.cmd)] {
        for (index, _) in list.iter().enumerate().filter(|(_, text)| text.contains('\0')) {
            faults.add(format!("/config/{field}/{index}"), "must not contain a NUL character");
        }
    }
    if !config.user.is_empty()
        && let Err(message) = check_user(&config.user)
    {
        faults.add("/config/User", message);
    }
    if !config.working_dir.is_empty() && (!config.working_dir.starts_with('/') || config.working_dir.contains('\0')) {
        faults.add("/config/WorkingDir", "must be an absolute path");
    }
    if !config.stop_signal.is_empty()
        && let Err(error) = signal::parse(&config.stop_signal)
    {
        faults.add("/config/StopSignal", error.to_string());
    }
    for port in config.exposed_ports.keys().filter(|port| !is_port(port)) {
        faults.add("/config/ExposedPorts", format!("{port:?} must be a port or a range of them with its protocol, such as \"80/tcp\""));
    }
    for path in config.volumes.keys().filter(|path| !is_volume_path(path)) {
        faults.add("/config/Volumes", format!("{path:?} must be an absolute path below the root"));
    }
    if let Some(check) = &config.healthcheck
        && let Err(message) = check_healthcheck(check)
    {
        faults.add("/config/Healthcheck/Test", message);
    }
    let faults = faults.into_vec();
    if faults.is_empty() { Ok(()) } else { Err(ImageError::Invalid(faults)) }
}

fn is_port(text: &str) -> bool {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0);
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    matches!(protocol, "tcp" | "udp" | "sctp") && number(first) && number(last)
}

fn is_volume_path(path: &str) -> bool {
    let parts = path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>();
    path.starts_with('/') && !path.contains('\0') && !parts.is_empty() && !parts.contains(&"..")
}

fn check_healthcheck(check: &Healthcheck) -> Result<(), &'static str> {
    let arguments = check.test.len().saturating_sub(1);
    match check.test.first().map(String::as_str) {
        _ if check.test.iter().any(|text| text.contains('\0')) => Err("must not contain a NUL character"),
        None | Some("NONE") => Ok(()),
        Some("CMD") if arguments > 0 => Ok(()),
        Some("CMD-SHELL") if arguments == 1 => Ok(()),
        _ => Err("must be [\"NONE\"], [\"CMD\", program, argument…] or [\"CMD-SHELL\", line]"),
    }
}

/// This machine, in the words of the OCI image specification (which are Go's).
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
