//! The dashboard in a real browser, as a person would use it: Debian's Chromium, driven by the scripts of `tests/browser`.
//!
//! One scenario a test, each in a process of its own. What a scenario makes has names that begin with the test's own, by which it is found
//! and deleted afterwards, whatever came of it. `./scripts/setup --test` installs what these tests need; without it they say so.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::dashboard;
use crate::common::Scope;
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        a_life,
        request,
        live,
        every_page,
        keyboard,
        without_javascript,
        images_and_volumes,
        terminal,
    ]
}

/// Why these tests cannot run here; None where they can.
pub(crate) fn missing() -> Option<String> {
    let needed = [chromium(), folder().join("node_modules/playwright-core/package.json")];
    let absent = needed.iter().find(|path| !path.exists())?;
    Some(format!("{} is missing: ./scripts/setup --test installs it", absent.display()))
}

fn chromium() -> PathBuf {
    std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        $(fn $name(scope: &Scope<'_>) {
            play(scope, stringify!($name));
        })+
    };
}
scenarios![a_life, request, live, every_page, keyboard, without_javascript, images_and_volumes, terminal];

fn play(scope: &Scope<'_>, scenario: &str) {
    scope.berth.need_busybox();
    let name = scope.name();
    let played = Command::new("node")
        .arg(folder().join("run.mjs"))
        .arg(scenario)
        .env("BERTH_URL", format!("http://{}", scope.berth.address()))
        .env("BERTH_TOKEN", dashboard::token(scope))
        .env("BERTH_NAME", &name)
        .env("CHROMIUM", chromium())
        .output();
    // Found before anything is asserted, so that it goes in any case.
    let containers = scope.api().get("/api/v1/containers").send().expect(200).json();
    for container in containers["items"].as_array().into_iter().flatten() {
        if container["metadata"]["name"].as_str().is_some_and(|found| found.starts_with(&name)) {
            scope.adopt(container);
        }
    }
    let played = played.unwrap_or_else(|error| panic!("node: {error}"));
    let said = [played.stdout, played.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(played.status.success(), "{scenario}: {}\n{said}", played.status);
}
