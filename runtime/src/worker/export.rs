//! Unpacked layers as the archives that they are: ExportLayers.
//!
//! Each is read twice: what it is called (its digest) and how long it is must be known before the first byte of it can be in an archive, and
//! it may be larger than any memory. A layer never changes, so both times give the same; that is checked all the same.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sha2::{Digest, Sha256};

use super::confine::Cell;
use super::data::{DataDir, child};
use super::failed;
use super::half::{self, Confined};
use super::import::STALL;
use super::pack::{LAYER_DESCRIPTORS, Packer, Pieces, Style};
use crate::crash_point;
use crate::error::{RuntimeError, SysError};
use crate::id::LayerId;
use crate::image::config::MOST_LAYERS;
use crate::image::hex;
use crate::protocol::{ExportedLayer, LauncherAnswer, write_frame};

/// So many bytes are digested between two looks at whether somebody still waits for it.
const LOOK_AFTER: u64 = 8 << 20;

/// Tells what the tar of each layer is, and sends them one after the other, those that are alike once. None: it has answered by itself.
pub fn export_layers(connection: &UnixStream, data: &Path, layers: &[LayerId]) -> Result<Option<LauncherAnswer>, RuntimeError> {
    if layers.len() > MOST_LAYERS {
        return Err(RuntimeError::Invalid { path: "/layers".into(), message: format!("an image has at most {MOST_LAYERS} layers") });
    }
    connection.set_write_timeout(Some(STALL)).map_err(|error| failed("export")(SysError::io("setsockopt", "SO_SNDTIMEO", &error)))?;
    let folder = DataDir::open(data)?.layers()?;
    let folders = layers.iter().map(|layer| {
        let found = child(folder.as_fd(), layer.as_str()).map_err(failed("layers"))?;
        found.ok_or_else(|| failed("layers")(SysError::new("openat2", layer, Errno::ENOENT)))
    });
    let cell = Cell::of_layers(&folders.collect::<Result<Vec<_>, _>>()?, LAYER_DESCRIPTORS).map_err(failed("layers"))?;
    half::in_cell(&cell, None, connection.as_fd(), |confined| {
        let measured = (0..layers.len()).map(|number| measure(confined, number, connection)).collect::<Result<Vec<_>, _>>()?;
        crash_point!("worker.export.measured");
        let mut to = connection;
        write_frame(&mut to, &LauncherAnswer::LayersMeasured { layers: measured.clone() })
            .map_err(|error| failed("export")(SysError::io("write", "connection", &error)))?;
        let outcome = send(confined, &measured, connection);
        let last = outcome.map_or_else(|error| LauncherAnswer::Failed { error }, |()| LauncherAnswer::Done);
        // A client that hung up is told nothing more.
        let _ = to.write_all(&[0; 4]).and_then(|()| write_frame(&mut to, &last));
        Ok(())
    })?;
    Ok(None)
}

fn measure(confined: &Confined<'_>, number: usize, connection: &UnixStream) -> Result<ExportedLayer, RuntimeError> {
    pack(confined, number, Watched { connection: connection.as_fd(), unlooked: 0 })
}

fn send(confined: &Confined<'_>, measured: &[ExportedLayer], connection: &UnixStream) -> Result<(), RuntimeError> {
    let mut sent = BTreeSet::new();
    for (number, layer) in measured.iter().enumerate().filter(|(_, layer)| sent.insert(layer.digest.as_str())) {
        if pack(confined, number, Pieces::new(connection))? != *layer {
            return Err(RuntimeError::Protocol { message: format!("a layer changed while it was sent: it was {}", layer.digest) });
        }
    }
    Ok(())
}

/// Writes the tar of one layer; what it is.
fn pack(confined: &Confined<'_>, number: usize, to: impl Write) -> Result<ExportedLayer, RuntimeError> {
    let call = |errno| failed("export")(SysError::new("openat2", number, errno));
    let folder = child(confined.root.as_fd(), &number.to_string()).map_err(failed("export"))?.ok_or_else(|| call(Errno::ENOENT))?;
    let mut digested = Digested { to, digest: Sha256::new(), size: 0 };
    Packer::new(&mut digested, Style::Layer(&|folder| confined.is_opaque(folder))).pack(folder.as_fd(), b".", b".".to_vec())?;
    Ok(ExportedLayer { digest: format!("sha256:{}", hex(digested.digest)), size: digested.size })
}

struct Digested<W> {
    to: W,
    digest: Sha256,
    size: u64,
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let length = self.to.write(data)?;
        self.digest.update(&data[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Nowhere, as long as somebody waits at the other end of the connection.
struct Watched<'a> {
    connection: BorrowedFd<'a>,
    unlooked: u64,
}

impl Write for Watched<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.unlooked += data.len() as u64;
        if self.unlooked >= LOOK_AFTER {
            self.unlooked = 0;
            // A hang-up is always told. See poll(2).
            let mut polled = [PollFd::new(self.connection, PollFlags::empty())];
            if poll(&mut polled, PollTimeout::ZERO).is_ok() && polled[0].any() == Some(true) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
