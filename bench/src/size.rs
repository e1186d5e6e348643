//! What is installed and how large it is: Berth's two binaries without symbols, and the programs that the others need for the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fault;
use crate::figures::{Goal, Table};
use crate::running::mebibytes;

/// Where the shell would find it.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(program)).find(|file| file.is_file())
}

pub(crate) fn installed(program: &str) -> bool {
    find(program).is_some()
}

pub(crate) fn measure(scratch: &Path, berth: &Path, table: &mut Table) -> Result<(), Fault> {
    let mut total = 0;
    for program in [berth.to_owned(), berth.with_file_name("berth-runtime")] {
        let stripped = scratch.join("stripped");
        std::fs::copy(&program, &stripped)?;
        // Without binutils they are counted as they are.
        let _ = Command::new("strip").arg(&stripped).status();
        total += std::fs::metadata(&stripped)?.len();
    }
    let sets = [
        ("podman", &["podman", "conmon", "crun"][..]),
        ("docker", &["dockerd", "docker", "docker-init", "containerd", "containerd-shim-runc-v2", "runc"][..]),
        ("containerd", &["containerd", "ctr", "containerd-shim-runc-v2", "runc"][..]),
    ];
    let beside: Vec<String> = sets
        .iter()
        .filter_map(|(name, programs)| {
            let sizes = programs.iter().map(|program| find(program)?.metadata().ok().map(|data| data.len()));
            let total = sizes.sum::<Option<u64>>()?;
            Some(format!("{name} ({}): {:.0} MiB", programs.join(", "), mebibytes(total / 1024)))
        })
        .collect();
    let size = mebibytes(total / 1024);
    table.row("installed size, binaries", &format!("{size:.1} MiB in 2"), Some(Goal::at_most(size, 30.0, "MiB, two binaries")), &beside);
    Ok(())
}
