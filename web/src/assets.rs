//! Styles, scripts and the icon, embedded in the binary and served under names that carry a hash of their content.
//!
//! Most are in `static/` as they are sent; the terminal's two are made by `build.rs` from `terminal/` and xterm.js.
//!
//! A page asks [`path`] for the address of `style.css` and gets `/assets/style.<hash>.css`. What lies there can never change, so the server
//! may let browsers keep it for ever. The scripts are small ES modules that import one another by their plain names; those are rewritten to
//! the hashed ones here, which is why the list below goes from the leaves to the root.

use std::sync::LazyLock;

/// One embedded file.
#[derive(Debug)]
pub struct Asset {
    /// As pages name it: `style.css`.
    pub name: &'static str,
    /// As it is served: `style.0123456789abcdef.css`.
    pub file: String,
    pub content_type: &'static str,
    pub body: String,
}

const CSS: &str = concat!(
    include_str!("../static/css/tokens.css"),
    include_str!("../static/css/base.css"),
    include_str!("../static/css/frame.css"),
    include_str!("../static/css/parts.css"),
    include_str!("../static/css/pages.css"),
);

const STYLES: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content type, content. A module stands after all that it imports.
const SOURCES: &[(&str, &str, &str)] = &[
    ("style.css", STYLES, CSS),
    ("icon.svg", "image/svg+xml", include_str!("../static/icon.svg")),
    ("morph.js", JAVASCRIPT, include_str!("../static/js/morph.js")),
    ("format.js", JAVASCRIPT, include_str!("../static/js/format.js")),
    ("meter.js", JAVASCRIPT, include_str!("../static/js/meter.js")),
    ("ansi.js", JAVASCRIPT, include_str!("../static/js/ansi.js")),
    ("small.js", JAVASCRIPT, include_str!("../static/js/small.js")),
    ("live.js", JAVASCRIPT, include_str!("../static/js/live.js")),
    ("logs.js", JAVASCRIPT, include_str!("../static/js/logs.js")),
    ("stats.js", JAVASCRIPT, include_str!("../static/js/stats.js")),
    ("rows.js", JAVASCRIPT, include_str!("../static/js/rows.js")),
    ("create.js", JAVASCRIPT, include_str!("../static/js/create.js")),
    ("upload.js", JAVASCRIPT, include_str!("../static/js/upload.js")),
    ("app.js", JAVASCRIPT, include_str!("../static/js/app.js")),
    ("terminal.css", STYLES, include_str!(concat!(env!("OUT_DIR"), "/terminal.css"))),
    ("terminal.js", JAVASCRIPT, include_str!(concat!(env!("OUT_DIR"), "/terminal.js"))),
];

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut assets: Vec<Asset> = Vec::with_capacity(SOURCES.len());
    for (name, content_type, content) in SOURCES {
        let mut body = (*content).to_owned();
        for earlier in &assets {
            body = body.replace(&format!("\"./{}\"", earlier.name), &format!("\"./{}\"", earlier.file));
        }
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, "bin"));
        let file = format!("{stem}.{:016x}.{extension}", hash(body.as_bytes()));
        assets.push(Asset { name, file, content_type, body });
    }
    assets
});

/// FNV-1a, 64 bits: tells versions of our own files apart, nothing more.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Every embedded file.
pub fn all() -> &'static [Asset] {
    &ASSETS
}

/// The file that is served under this hashed name.
pub fn find(file: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.file == file)
}

/// The address of the asset that pages call `name`.
pub fn path(name: &str) -> String {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => format!("/assets/{}", asset.file),
        None => format!("/assets/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_under_the_address_that_pages_use() {
        for asset in all() {
            let file = path(asset.name).strip_prefix("/assets/").unwrap().to_owned();
            assert_eq!(find(&file).unwrap().name, asset.name);
            assert!(file.contains(&format!("{:016x}", hash(asset.body.as_bytes()))));
        }
        assert!(find("style.css").is_none(), "only hashed names may be kept for ever");
    }

    #[test]
    fn every_import_leads_to_an_embedded_module() {
        let mut imports = 0;
        for asset in all().iter().filter(|asset| asset.name.ends_with(".js")) {
            for (at, _) in asset.body.match_indices("from \"./") {
                let file = asset.body[at + 8..].split('"').next().unwrap();
                assert!(find(file.trim_start_matches('/')).is_some(), "{} imports {file}", asset.name);
                imports += 1;
            }
        }
        assert!(imports > 0);
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        for asset in all() {
            // The bundle keeps the licences of what is in it, which name their authors' sites.
            let body = without_comments(&asset.body);
            for scheme in ["https://", "http://", "url(//", "@import"] {
                let found = body.match_indices(scheme).any(|(at, _)| !body[at..].starts_with("http://www.w3.org/"));
                assert!(!found, "{} holds {scheme}", asset.name);
            }
        }
    }

    fn without_comments(text: &str) -> String {
        let mut parts = text.split("/*");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |kept, part| kept + part.split_once("*/").map_or(part, |(_, after)| after))
    }

    #[test]
    fn the_terminal_is_what_its_lock_file_says_and_nothing_of_it_is_evaluated() {
        let terminal = all().iter().find(|asset| asset.name == "terminal.js").unwrap();
        assert!(terminal.body.contains("v5.channel.k8s.io") && terminal.body.len() > 100_000, "{} bytes", terminal.body.len());
        // The content security policy would refuse them.
        for call in ["eval(", "new Function("] {
            assert!(!terminal.body.contains(call), "{call}");
        }
    }
}
