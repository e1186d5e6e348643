//! What a write costs: `cargo run --release -p server --example store_speed [DIRECTORY]`.
//!
//! Prints the time of one bare fdatasync in the same folder, of each kind of write when one client waits for it, and the rate of many clients.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use server::clock::SystemClock;
use server::model::image::{ImageConfig, ImageLayer, OciImage, OciRootfs};
use server::store::{Desired, NewContainer, NewImage, Stop, Store, StoreError};

const ROUNDS: usize = 300;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("berth-store-speed"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    report("fdatasync of 8 KiB", floor(&folder)?);
    let path = folder.join("speed.db");
    let store = Store::open(&path, Arc::new(SystemClock)).await?;
    import(&store).await?;
    one_client(&store).await?;
    many_clients(&store).await?;
    store.close().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("speed.db{suffix}")));
    }
    Ok(())
}

fn floor(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let path = folder.join("floor");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0; 4 << 20])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for round in 0..ROUNDS as u64 {
        use std::os::unix::fs::FileExt;
        let clock = Instant::now();
        file.write_all_at(&[1; 8192], round * 8192)?;
        file.sync_data()?;
        times.push(clock.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(times)
}

async fn import(store: &Store) -> Result<(), StoreError> {
    let oci = OciImage {
        created: None,
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        config: ImageConfig::default(),
        rootfs: OciRootfs { kind: "layers".to_owned(), diff_ids: vec![format!("sha256:{}", "1".repeat(64))] },
    };
    let layer = ImageLayer { diff_id: oci.rootfs.diff_ids[0].clone(), size: 1 };
    let config_json = serde_json::to_string(&oci).unwrap_or_default();
    let new = NewImage {
        id: "a".repeat(64),
        references: Vec::new(),
        layers: vec![layer],
        oci,
        config_json,
        manifest_digest: None,
        origin: "imported".to_owned(),
    };
    store.put_images(vec![new], None).await.map(|_| ())
}

fn new(name: String) -> NewContainer {
    let spec = server::model::ContainerSpec { image: "busybox".to_owned(), ..Default::default() };
    let spec_json = r#"{"image":"busybox"}"#.to_owned();
    NewContainer { name, labels: Default::default(), annotations: Default::default(), spec, spec_json, image: "a".repeat(64) }
}

async fn one_client(store: &Store) -> Result<(), StoreError> {
    let mut times: [Vec<Duration>; 5] = Default::default();
    for round in 0..ROUNDS {
        let clock = Instant::now();
        let record = store.create_container(new(format!("one-{round}"))).await?;
        times[0].push(clock.elapsed());

        let clock = Instant::now();
        store.set_desired(&record.uid, None, Desired::Running { paused: false, restart: None }).await?;
        times[1].push(clock.elapsed());

        let clock = Instant::now();
        let pending = store.set_status(&record.uid, (*record.status).clone(), record.progress.clone(), Vec::new())?;
        times[2].push(clock.elapsed());
        pending.durable().await?;
        times[3].push(clock.elapsed());

        store.set_desired(&record.uid, None, Desired::Deleted { stop: Stop::default(), volumes: false }).await?;
        let clock = Instant::now();
        store.remove_container(&record.uid, Vec::new())?.durable().await?;
        times[4].push(clock.elapsed());
    }
    let names = ["create", "set_desired", "set_status until shown", "set_status until durable", "remove"];
    for (name, times) in names.into_iter().zip(times) {
        report(name, times);
    }
    Ok(())
}

async fn many_clients(store: &Store) -> Result<(), StoreError> {
    let clock = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    store.create_container(new(format!("many-{client}-{round}"))).await?;
                }
                Ok::<(), StoreError>(())
            })
        })
        .collect();
    for client in clients {
        client.await.map_err(|_| StoreError::Closed)??;
    }
    println!("8 clients: {:.0} creates a second", (8 * ROUNDS) as f64 / clock.elapsed().as_secs_f64());
    Ok(())
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    println!("{name:28} p50 {:6} us   p95 {:6} us   p99 {:6} us", at(50), at(95), at(99));
}
