//! `/api/v1/volumes`: named folders that outlive containers.

pub mod create;
pub mod delete;
pub mod list;
pub mod patch;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::{App, AppState};
use crate::model::Volume;
use crate::model::volume::VolumeUsage;
use crate::store::VolumeRecord;
use crate::usage::Measured;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list::list_volumes, create::create_volume)).routes(routes!(
        list::get_volume,
        patch::patch_volume,
        delete::delete_volume
    ))
}

/// The volume as it goes out, with these figures, or with those that were measured last.
fn model(state: &App, record: &VolumeRecord, measured: Option<&Measured>) -> Volume {
    let mut volume = state.store.volume_model(record);
    let last = state.usage.last();
    volume.status.usage = measured.or(last.as_deref()).and_then(|measured| {
        // One that nothing has mounted yet has no folder: it is found only once it has.
        let amount = measured.of("volume", record.id.as_str())?;
        Some(VolumeUsage { bytes: amount.bytes, inodes: amount.inodes, measured_at: measured.at })
    });
    volume
}
