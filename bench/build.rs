//! Compiles the floor: a C program, so that the least that can be asked of the kernel is asked without a runtime, and no `unsafe` is needed here.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=floor.c");
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).expect("cargo sets OUT_DIR");
    let floor = out.join("floor");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "gcc".to_owned());
    let status =
        Command::new(&compiler).args(["-std=gnu11", "-O2", "-static", "-Wall", "-Wextra", "-o"]).arg(&floor).arg("floor.c").status();
    assert!(status.is_ok_and(|status| status.success()), "{compiler} could not compile floor.c (./scripts/setup installs gcc)");
    println!("cargo::rustc-env=BERTH_FLOOR={}", floor.display());
}
