//! Bundles the terminal (`terminal/`, with xterm.js) into `OUT_DIR`, from where `src/assets.rs` embeds it.
//!
//! npm takes the packages that `package-lock.json` pins by their digests, and esbuild makes one script and one style sheet of them. All of it
//! happens in a copy below `OUT_DIR`, for a build leaves the source tree alone; packages are fetched again only when the lock file has changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const SOURCES: &[&str] = &[
    "package.json",
    "package-lock.json",
    ".npmrc",
    "terminal/session.js",
    "terminal/strict.js",
    "terminal/terminal.css",
    "terminal/terminal.js",
];
const PRODUCTS: &[&str] = &["terminal.js", "terminal.css"];

fn main() {
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let workshop = out.join("terminal");
    fs::create_dir_all(workshop.join("terminal")).expect("a folder below OUT_DIR");
    for source in SOURCES {
        fs::copy(source, workshop.join(source)).unwrap_or_else(|error| panic!("copying {source}: {error}"));
    }
    install(&workshop);
    npm(&workshop, &["run", "--silent", "build"]);
    for product in PRODUCTS {
        let made = workshop.join("dist").join(product);
        fs::copy(&made, out.join(product)).unwrap_or_else(|error| panic!("copying {}: {error}", made.display()));
    }
}

/// `npm ci`, unless what is installed came from this very lock file.
fn install(workshop: &Path) {
    let lock = fs::read(workshop.join("package-lock.json")).expect("it was just copied");
    let stamp = workshop.join("node_modules/.installed-from");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return;
    }
    // No package needs its own scripts here, so none gets to run one.
    npm(workshop, &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]);
    fs::write(stamp, lock).expect("node_modules is there");
}

fn npm(workshop: &Path, arguments: &[&str]) {
    let outcome = Command::new("npm").args(arguments).current_dir(workshop).output();
    let output = outcome.unwrap_or_else(|error| panic!("npm {}: {error}; ./scripts/setup installs nodejs and npm", arguments.join(" ")));
    assert!(
        output.status.success(),
        "npm {} failed ({}):\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
