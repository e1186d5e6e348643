//! An image's way from a file to a root file system: Berth's import and load beside what only unpacks, `tar` and `umoci unpack`, in turn.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::engine::Engine;
use crate::figures::{Goal, Samples, Table, not_measured};
use crate::size::installed;
use crate::{Fault, layout};

const ROUNDS: usize = 7;

pub(crate) async fn measure(scratch: &Path, berth: &Engine, table: &mut Table) -> Result<(), Fault> {
    let home = scratch.join("image");
    std::fs::create_dir_all(&home)?;
    let plain = file_system()?;
    let layout = layout::make(&home, "localhost/bench:latest", &plain)?;
    let archive = std::fs::read(&layout.archive)?;
    let mut client = Client::connect(berth.daemon.socket()).await?;
    let (mut load, mut tar, mut umoci) = (Samples::default(), Samples::default(), Ok(Samples::default()));
    for _ in 0..ROUNDS {
        load.add(loaded(&mut client, archive.clone()).await?);
        tar.add(unpacked(&home, &["tar".as_ref(), "--extract".as_ref(), "--gzip".as_ref(), "--file".as_ref(), layout.layer.as_ref()])?);
        umoci = umoci.and_then(|mut samples: Samples| {
            let image = format!("{}:latest", layout.folder.display());
            samples.add(unpacked(&home, &["umoci".as_ref(), "unpack".as_ref(), "--image".as_ref(), image.as_ref(), "bundle".as_ref()])?);
            Ok(samples)
        });
    }
    let mut goal = None;
    let mut beside = vec![format!("tar --extract --gzip: {}", tar.text())];
    match umoci {
        Ok(samples) => {
            goal = Some(Goal::at_most(load.p50().as_secs_f64() / samples.p50().as_secs_f64(), 1.0, "times umoci"));
            beside.push(format!("umoci unpack: {}", samples.text()));
        }
        Err(_) if !installed("umoci") => beside.push("umoci: not installed".to_owned()),
        Err(error) => beside.push(format!("umoci: {}", not_measured(&error))),
    }
    table.row("image of 32 MiB in 2,000 files, load and unpack (p50 / p95)", &load.text(), goal, &beside);
    Ok(())
}

/// Until it could be run, digests checked and on disk; the next one finds nothing of it.
async fn loaded(client: &mut Client, archive: Vec<u8>) -> Result<Duration, Fault> {
    let began = Instant::now();
    client.upload("/api/v1/images/load?reference=bench:latest", archive).await?;
    let took = began.elapsed();
    client.delete("/api/v1/images/bench:latest").await?;
    Ok(took)
}

/// A command in a fresh folder, which is removed afterwards.
fn unpacked(home: &Path, command: &[&std::ffi::OsStr]) -> Result<Duration, Fault> {
    let folder = tempfile::Builder::new().prefix("unpacked-").tempdir_in(home)?;
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let began = Instant::now();
    let output = Command::new(program).args(arguments).current_dir(folder.path()).stdin(Stdio::null()).output()?;
    let took = began.elapsed();
    if output.status.success() { Ok(took) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into()) }
}

/// Files that pack about as well as programs do: runs of noise and of nothing. The same bytes each time.
fn file_system() -> Result<Vec<u8>, Fault> {
    const FILE: usize = 16 * 1024;
    let mut builder = tar::Builder::new(Vec::new());
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut content = vec![0_u8; FILE];
    for number in 0..2000 {
        for chunk in content.chunks_mut(64) {
            // xorshift64: half of each chunk is noise.
            for word in chunk[..32].chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(FILE as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("usr/lib/{}/file-{number}", number % 50), content.as_slice())?;
    }
    Ok(builder.into_inner()?)
}
