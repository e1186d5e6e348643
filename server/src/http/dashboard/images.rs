//! `GET /images`.

use axum::extract::State;
use axum::response::Html;
use jiff::Timestamp;
use web::pages::{ImageRow, Images};

use super::convert;
use super::visit::{Visit, html};
use crate::http::error::ApiResult;
use crate::http::state::AppState;
use crate::model::Image;

pub(super) async fn page(State(state): State<AppState>, visit: Visit) -> ApiResult<Html<String>> {
    let images: Vec<Image> = state.store.images().iter().map(|record| state.store.image_model(record)).collect();
    // Layers that images share are on the disk once.
    let layers: std::collections::BTreeMap<_, _> =
        images.iter().flat_map(|image| &image.status.layers).map(|layer| (&layer.diff_id, layer.size)).collect();
    let now = visit.now;
    html(&Images {
        total_bytes: layers.values().sum(),
        rows: images.iter().map(|image| row(image, now)).collect(),
        frame: visit.calls(["/api/v1/images".to_owned()]),
    })
}

fn row(image: &Image, now: Timestamp) -> ImageRow {
    let status = &image.status;
    ImageRow {
        references: image.spec.references.iter().map(|reference| convert::image_name(reference)).collect(),
        digest: status.id.clone(),
        size: status.size,
        layers: status.layers.len(),
        platform: format!("{}/{}", status.os, status.architecture),
        created: Some(convert::moment(image.metadata.creation_timestamp, now)),
        command: status.config.entrypoint.iter().chain(&status.config.cmd).cloned().collect(),
        used_by: status.used_by.len() as u64,
    }
}
