//! Every page with sample facts: as it was when someone last looked at it, and by the rules that hold for all of them.

mod markup;
mod sample;

use std::collections::BTreeSet;
use std::path::PathBuf;

use markup::{Element, read};
use web::{Lang, routes};

/// What is shown changes only on purpose: `UPDATE_GOLDEN=1 cargo test -p web` writes the files anew, and the diff is looked at.
#[test]
fn pages_are_as_they_were_last_looked_at() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut known = BTreeSet::new();
    for lang in Lang::ALL {
        for page in sample::all(lang) {
            // The other language has the same templates: two pages of it show that its words arrive.
            if lang != Lang::En && !["containers", "container-oom"].contains(&page.name) {
                continue;
            }
            let name = if lang == Lang::En { format!("{}.html", page.name) } else { format!("{}.{}.html", page.name, lang.code()) };
            let html = without_hashes(&page.html);
            let file = folder.join(&name);
            if update {
                std::fs::write(&file, &html).unwrap();
            }
            let golden = std::fs::read_to_string(&file).unwrap_or_default();
            let differs = golden.lines().zip(html.lines()).position(|(a, b)| a != b).map(|line| line + 1);
            assert!(golden == html, "{name} differs from line {differs:?} on; UPDATE_GOLDEN=1 accepts it");
            known.insert(name);
        }
    }
    let files: BTreeSet<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, known, "golden files without a page");
}

/// A changed style sheet is no changed page.
fn without_hashes(html: &str) -> String {
    web::assets::all().iter().fold(html.to_owned(), |html, asset| html.replace(&asset.file, asset.name))
}

fn each_page(check: impl Fn(&str, &[Element])) {
    let mut pages = 0;
    for lang in Lang::ALL {
        for page in sample::all(lang) {
            assert!(page.path.starts_with('/'));
            check(&format!("{} ({})", page.name, lang.code()), &read(&page.html));
            pages += 1;
        }
    }
    assert!(pages > 40);
}

#[test]
fn no_page_has_a_script_or_style_of_its_own() {
    each_page(|page, elements| {
        for element in elements {
            assert_ne!(element.name, "style", "{page}");
            if element.name == "script" {
                assert!(element.get("src").is_some_and(|src| src.starts_with("/assets/")) && element.text.is_empty(), "{page}");
            }
            for (name, value) in &element.attributes {
                assert!(name != "style" && !name.starts_with("on"), "{page}: {name} on {element:?}");
                assert!(!value.trim_start().to_ascii_lowercase().starts_with("javascript:"), "{page}: {element:?}");
            }
        }
    });
}

#[test]
fn every_form_and_link_leads_to_a_route() {
    each_page(|page, elements| {
        for element in elements {
            match element.name.as_str() {
                "form" => {
                    let action = element.get("action").unwrap_or_default();
                    let list = if element.get("method") == Some("post") { routes::ACTIONS } else { routes::PAGES };
                    assert!(routes::known(list, action), "{page}: form to {action}");
                }
                "a" | "link" => {
                    let href = element.get("href").unwrap_or_default();
                    // What is saved as a file comes from the API itself.
                    let file = element.get("download").is_some() && href.starts_with("/api/v1/");
                    assert!(file || href.starts_with('#') || routes::known(routes::PAGES, href), "{page}: link to {href}");
                }
                _ => {}
            }
        }
    });
}

#[test]
fn ids_are_unique_and_what_refers_to_them_finds_them() {
    each_page(|page, elements| {
        let mut ids = BTreeSet::new();
        for id in elements.iter().filter_map(|element| element.get("id")) {
            assert!(ids.insert(id), "{page}: {id} twice");
        }
        for element in elements {
            for reference in ["for", "list", "aria-labelledby", "aria-describedby"] {
                for id in element.get(reference).unwrap_or_default().split_whitespace() {
                    assert!(ids.contains(id), "{page}: {reference}={id} finds nothing");
                }
            }
            if let Some(id) = element.get("href").and_then(|href| href.strip_prefix('#')) {
                assert!(ids.contains(id), "{page}: #{id} finds nothing");
            }
        }
    });
}

#[test]
fn a_page_can_be_used_without_seeing_it() {
    each_page(|page, elements| {
        let count = |name: &str| elements.iter().filter(|element| element.name == name).count();
        assert_eq!((count("main"), count("h1"), count("title")), (1, 1, 1), "{page}");
        let html = elements.iter().find(|element| element.name == "html").unwrap();
        assert!(html.get("lang").is_some(), "{page}");
        let labelled: BTreeSet<_> = elements.iter().filter_map(|element| element.get("for")).collect();
        for (at, element) in elements.iter().enumerate() {
            match element.name.as_str() {
                "input" if matches!(element.get("type"), Some("hidden" | "checkbox")) => {}
                "input" | "select" | "textarea" => {
                    assert!(element.get("id").is_some_and(|id| labelled.contains(id)), "{page}: nobody says what {element:?} is");
                }
                "nav" | "section" => {
                    let named = element.get("aria-label").or(element.get("aria-labelledby")).is_some();
                    assert!(
                        named
                            || element.get("class").is_some_and(|class| ["empty", "aside"].contains(&class))
                            || element.get("id").is_some(),
                        "{page}: {element:?}"
                    );
                }
                "th" => assert!(element.get("scope").is_some(), "{page}: {element:?}"),
                "svg" => assert!(element.get("aria-hidden").is_some() || element.get("aria-label").is_some(), "{page}: {element:?}"),
                "button" => {
                    let words =
                        element.get("aria-label").is_some() || elements[at..].iter().take(4).any(|part| !part.text.trim().is_empty());
                    assert!(words, "{page}: a button without words");
                }
                _ => {}
            }
        }
    });
}

#[test]
fn without_a_right_to_change_there_is_nothing_to_press() {
    let viewer = sample::all(Lang::En).into_iter().find(|page| page.name == "containers-viewer").unwrap();
    let actions: Vec<_> =
        read(&viewer.html).into_iter().filter(|element| element.name == "form" && element.get("method") == Some("post")).collect();
    assert!(actions.iter().all(|form| matches!(form.get("action"), Some("/preferences" | "/logout"))), "{actions:?}");
    assert!(!viewer.html.contains("/containers/new"));
}
