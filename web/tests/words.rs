//! The table of words: the same keys and holes in every language, every key that is asked for, and none that nobody asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn catalogue(code: &str) -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/i18n/{code}.txt"));
    let text = fs::read_to_string(file).unwrap();
    let mut words = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{code}: not `key = text`: {line}"));
        assert!(!value.trim().is_empty(), "{code}: {key} says nothing");
        assert!(words.insert(key.to_owned(), value.to_owned()).is_none(), "{code}: {key} twice");
    }
    words
}

fn holes(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
}

#[test]
fn languages_have_the_same_keys_and_holes() {
    let (en, zh) = (catalogue("en"), catalogue("zh"));
    assert_eq!(en.keys().collect::<Vec<_>>(), zh.keys().collect::<Vec<_>>());
    for (key, text) in &en {
        assert_eq!(holes(text), holes(&zh[key]), "{key}");
    }
}

fn sources() -> String {
    fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "html") {
                out.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    collect(&root.join("templates"), &mut files);
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// Keys that are made at run time begin with one of these; the server's view structs carry those of `fact.`, `count.`, `effect.`, `figure.` and `share.`.
const MADE: &[&str] = &[
    "field.", "hint.", "ns.", "mode.", "signal.", "process.", "limit.", "file.", "stage.", "actor.", "feature.", "flash.", "fact.",
    "count.", "effect.", "figure.", "share.",
];

#[test]
fn every_key_that_is_asked_for_exists_and_none_is_left_over() {
    let en = catalogue("en");
    let source = sources();
    let mut asked = BTreeSet::new();
    for call in ["t(\"", "with(\"", "count(\"", "count_of(\"", "lookup(\""] {
        for (at, _) in source.match_indices(&format!(".{call}")) {
            let key = source[at + 1 + call.len()..].split('"').next().unwrap();
            if call.starts_with("count") {
                asked.extend([format!("{key}.one"), format!("{key}.other")]);
            } else {
                asked.insert(key.to_owned());
            }
        }
    }
    assert!(asked.len() > 150, "{}", asked.len());
    let missing: Vec<_> = asked.iter().filter(|key| !en.contains_key(*key)).collect();
    assert!(missing.is_empty(), "no words for {missing:?}");
    let quoted = |key: &str| source.contains(&format!("\"{key}\""));
    let unused: Vec<_> =
        en.keys().filter(|key| !asked.contains(*key) && !quoted(key) && !MADE.iter().any(|prefix| key.starts_with(prefix))).collect();
    assert!(unused.is_empty(), "nobody asks for {unused:?}");
}

#[test]
fn every_field_of_the_form_has_a_label() {
    let en = catalogue("en");
    for (field, _) in web::pages::FIELDS {
        assert!(en.contains_key(&format!("field.{field}")), "{field}");
    }
}
