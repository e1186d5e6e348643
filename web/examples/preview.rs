//! Writes every page with sample facts into a folder, to be looked at through any file server:
//!
//! ```text
//! cargo run -p web --example preview -- /tmp/preview && python3 -m http.server -d /tmp/preview
//! ```

use std::path::Path;
use std::{env, fs, io};

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> io::Result<()> {
    let Some(folder) = env::args().nth(1) else {
        eprintln!("usage: preview FOLDER");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    let write = |path: &str, content: &str| -> io::Result<()> {
        let file = folder.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, content)
    };
    for (lang, prefix) in [(web::Lang::En, ""), (web::Lang::Zh, "/zh")] {
        for page in sample::all(lang) {
            write(&format!("{prefix}{}/index.html", page.path), &page.html)?;
            println!("{:<20} {prefix}{}", page.name, page.path);
        }
    }
    for asset in web::assets::all() {
        write(&format!("/assets/{}", asset.file), &asset.body)?;
    }
    Ok(())
}
