//! What it costs to import a layer or load an archive of images, beside `tar -x` on the same file system:
//! `image_cost <layer|archive> <file> <folder to work in>`. Needs root.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use runtime::protocol::{LauncherAnswer, read_frame, write_frame};
use runtime::sys::process::{self, Cloned};
use runtime::worker;

const MOST: u64 = 64 << 30;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, file, folder] = arguments.as_slice() else {
        eprintln!("usage: image_cost <layer|archive> <file> <folder to work in>");
        return ExitCode::FAILURE;
    };
    match measure(kind == "archive", Path::new(file), &Path::new(folder).join("image-cost")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image_cost: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(archive: bool, file: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    for round in 1..=3u8 {
        let data = folder.join("data");
        let untarred = folder.join("tar");
        fs::create_dir(&data)?;
        fs::create_dir(&untarred)?;
        nix::unistd::sync();
        let clock = Instant::now();
        let answer = import(archive, file, &data)?;
        let ours = clock.elapsed();
        nix::unistd::sync();
        let clock = Instant::now();
        let status = Command::new("tar").arg("-xf").arg(file).arg("-C").arg(&untarred).status()?;
        let tar = clock.elapsed();
        let clock = Instant::now();
        nix::unistd::syncfs(File::open(&untarred)?.as_fd()).map_err(io::Error::from)?;
        println!("round {round}: ours {ours:.2?} (synced); tar {tar:.2?} + sync {:.2?} ({status})", clock.elapsed());
        if round == 1 {
            println!("{}", serde_json::to_string_pretty(&answer)?);
        }
        fs::remove_dir_all(&data)?;
        fs::remove_dir_all(&untarred)?;
    }
    let children = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    println!("largest child: {} KiB", children.max_rss());
    fs::remove_dir(folder)
}

/// In a fork, as the launcher does it.
fn import(archive: bool, file: &Path, data: &Path) -> io::Result<LauncherAnswer> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let lost = |error: runtime::error::SysError| io::Error::from(error.source);
    match process::fork().map_err(lost)? {
        Cloned::Child => {
            drop(ours);
            let staging = "0".repeat(32).parse().unwrap_or_else(|_| process::exit_now(1));
            let outcome = match archive {
                true => worker::load_archive(&theirs, data, &staging, MOST, 2_000_000, None),
                false => worker::import_layer(&theirs, data, &staging, MOST, 2_000_000),
            };
            let _ = write_frame(&mut theirs, &outcome.unwrap_or_else(|error| LauncherAnswer::Failed { error }));
            process::exit_now(0)
        }
        Cloned::Parent(child) => {
            drop(theirs);
            // A refusal closes the connection: the answer says why.
            let _ = io::copy(&mut File::open(file)?, &mut ours);
            let _ = ours.shutdown(std::net::Shutdown::Write);
            let answer = read_frame(&mut ours)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            process::reap(child.pidfd.as_fd()).map_err(lost)?;
            Ok(answer)
        }
    }
}
