//! The walls of the house, checked over the source tree: who may import what, where `unsafe` may stand, how long a file may be.
//!
//! Most of what keeps a code base in shape is something absent, which no ordinary test sees. Each rule here names its reason, and a failure
//! prints every place. It reads text, not syntax trees: comments and literals are blanked first, and words are compared whole.

use std::fs;

mod source;
use source::{Source, sources};

/// What a part of the tree must not contain.
struct Wall {
    /// Files whose path (from the repository's root) starts with one of these.
    inside: &'static [&'static str],
    /// Except those whose path starts with one of these.
    except: &'static [&'static str],
    /// Paths or words, as they would be written in code: `tokio`, `std::fs`.
    forbidden: &'static [&'static str],
    /// Tests in the same files are looked at too.
    tests_too: bool,
    why: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        inside: &["runtime/src"],
        except: &[],
        forbidden: &["tokio", "axum", "sqlx", "hyper", "server", "web"],
        tests_too: true,
        why: "the runtime knows nothing of HTTP, SQL or tokio: a process that forks has exactly one thread",
    },
    Wall {
        inside: &["web/src"],
        except: &[],
        forbidden: &["std::fs", "std::net", "std::io", "std::process", "axum", "tokio", "hyper", "server", "runtime"],
        tests_too: false,
        why: "web does no I/O: a struct goes in, a String comes out",
    },
    Wall {
        inside: &["server/src"],
        except: &[],
        forbidden: &["nix", "cgroups_rs", "libc", "unsafe"],
        tests_too: true,
        why: "the process that speaks HTTP has no root, so it has no business with the kernel",
    },
    Wall {
        inside: &["runtime/src"],
        except: &["runtime/src/sys"],
        forbidden: &["unsafe"],
        tests_too: true,
        why: "unsafe lives in runtime/src/sys alone",
    },
    Wall {
        inside: &["runtime/src"],
        except: &["runtime/src/cgroup"],
        forbidden: &["cgroups_rs"],
        tests_too: true,
        why: "cgroups-rs stays behind runtime::cgroup, which reads every limit back",
    },
    Wall {
        inside: &["runtime/src/sys"],
        except: &[],
        forbidden: &["crate::shim", "crate::launch", "crate::worker", "crate::config", "crate::protocol", "crate::cgroup", "crate::rootfs"],
        tests_too: false,
        why: "sys is a thin skin over the kernel and knows nothing of what it is used for",
    },
    Wall {
        inside: &["server/src/model"],
        except: &[],
        forbidden: &[
            "axum",
            "sqlx",
            "hyper",
            "tokio",
            "std::fs",
            "runtime::config",
            "runtime::status",
            "runtime::protocol",
            "crate::http",
            "crate::store",
            "crate::node",
            "crate::reconcile",
        ],
        tests_too: false,
        why: "the model is the user's vocabulary: no transport, no database, no runtime, no I/O",
    },
    Wall {
        inside: &["server/src/store"],
        except: &[],
        forbidden: &[
            "axum",
            "hyper",
            "runtime::config",
            "runtime::status",
            "runtime::protocol",
            "crate::http",
            "crate::node",
            "crate::reconcile",
        ],
        tests_too: false,
        why: "the store keeps rows; it knows neither who asked nor what runs",
    },
    Wall {
        inside: &["server/src/reconcile"],
        except: &[],
        forbidden: &["axum", "hyper", "sqlx", "crate::http"],
        tests_too: false,
        why: "nothing below http may know which face a wish came from",
    },
    Wall {
        inside: &["server/src/node"],
        except: &[],
        forbidden: &["axum", "hyper", "sqlx", "crate::http"],
        tests_too: false,
        why: "node turns a spec into a runtime configuration and carries it over a socket, nothing else",
    },
    Wall {
        inside: &["server/src"],
        // Those put the house together.
        except: &["server/src/http", "server/src/main.rs", "server/src/lib.rs", "server/src/serve", "server/src/cli"],
        forbidden: &["crate::http"],
        tests_too: false,
        why: "http is a face: nothing below it may know it",
    },
    Wall { inside: &["server/src/http"], except: &[], forbidden: &["sqlx"], tests_too: false, why: "SQL is written in the store only" },
];

fn in_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| {
        path.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with(".rs") || rest.is_empty() || rest.starts_with('/') || rest == ".rs")
    })
}

fn fail_with(faults: &[String]) {
    assert!(faults.is_empty(), "{} place(s):\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn walls_between_crates_and_modules_hold() {
    let mut faults = Vec::new();
    for source in sources() {
        for wall in WALLS.iter().filter(|wall| in_any(&source.path, wall.inside) && !in_any(&source.path, wall.except)) {
            let code = if wall.tests_too { source.code.as_str() } else { source.code_without_tests() };
            for word in wall.forbidden {
                for line in source::lines_with(code, word) {
                    faults.push(format!("  {}:{line}: {word} ({})", source.path, wall.why));
                }
            }
        }
    }
    fail_with(&faults);
}

#[test]
fn crates_depend_on_what_their_room_allows() {
    let forbidden: &[(&str, &[&str])] = &[
        ("runtime", &["tokio", "axum", "sqlx", "hyper", "server", "web"]),
        ("web", &["tokio", "axum", "hyper", "sqlx", "nix", "server", "runtime"]),
        ("server", &["nix", "cgroups-rs", "libc"]),
    ];
    let mut faults = Vec::new();
    for (package, names) in forbidden {
        let manifest = fs::read_to_string(source::root().join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for section in ["dependencies", "build-dependencies"] {
            for name in manifest.get(section).and_then(|table| table.as_table()).into_iter().flat_map(|table| table.keys()) {
                if names.contains(&name.as_str()) {
                    faults.push(format!("  {package}/Cargo.toml: [{section}] {name}"));
                }
            }
        }
    }
    fail_with(&faults);
}

#[test]
fn crates_without_unsafe_forbid_it() {
    for file in ["server/src/lib.rs", "server/src/main.rs", "web/src/lib.rs"] {
        let code = Source::read(&source::root().join(file)).code;
        assert!(code.contains("#![forbid(unsafe_code)]"), "{file} does not say #![forbid(unsafe_code)]");
    }
    assert!(Source::read(&source::root().join("runtime/src/lib.rs")).code.contains("#![deny(unsafe_code)]"));
}

/// The room that writes problem documents, and the page that reads one in order to show it.
const READERS_AND_WRITERS_OF_PROBLEMS: &[&str] = &["server/src/http/error", "server/src/http/dashboard/problem.rs"];

/// One room maps errors to HTTP, so that a client sees one shape.
#[test]
fn problem_documents_are_built_in_one_room() {
    let sources = sources();
    let faults: Vec<_> = sources
        .iter()
        .filter(|source| source.path.starts_with("server/src/") && !in_any(&source.path, READERS_AND_WRITERS_OF_PROBLEMS))
        .filter(|source| !source.path.starts_with("server/src/http/openapi") && !source.path.contains("test"))
        .flat_map(|source| {
            source::lines_with(source.text_without_tests(), "application/problem+json").map(|line| format!("  {}:{line}", source.path))
        })
        .collect();
    fail_with(&faults);
}

#[test]
fn modules_say_what_they_are() {
    let faults: Vec<_> = sources()
        .iter()
        .filter(|source| !source.text.trim_start().starts_with("//!"))
        .map(|source| format!("  {}: its first line is not a `//!`", source.path))
        .collect();
    fail_with(&faults);
}

#[test]
fn files_stay_readable() {
    /// Split by noun before this (ARCHITECTURE.md).
    const MOST_LINES: usize = 600;
    /// A list of cases is read by looking one up.
    const MOST_LINES_OF_TESTS: usize = 900;
    let mut faults = Vec::new();
    for path in source::files(&source::root(), &["rs", "html", "css", "js", "ts", "c", "sh"]) {
        let lines = fs::read_to_string(&path).unwrap_or_default().lines().count();
        let most = if source::relative(&path).contains("/tests/") { MOST_LINES_OF_TESTS } else { MOST_LINES };
        if lines > most {
            faults.push(format!("  {}: {lines} lines", source::relative(&path)));
        }
    }
    fail_with(&faults);
}

/// `#[allow]` stays silent for ever; `#[expect]` speaks up when its reason is gone.
#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut faults = Vec::new();
    for source in sources() {
        for line in source::lines_with(&source.code, "allow") {
            let text = source.code.lines().nth(line - 1).unwrap_or_default();
            if text.contains("#[allow(") || text.contains("#![allow(") {
                faults.push(format!("  {}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    fail_with(&faults);
}

/// The repository must build and run anywhere: no folder of one developer's machine stands in it.
#[test]
fn no_file_names_a_place_on_one_machine() {
    // Put together here, so that this file does not name them itself.
    let places: Vec<String> = ["work/", "home/", "Users/"].iter().map(|folder| format!("/{folder}")).collect();
    let mut faults = Vec::new();
    for path in source::files(&source::root(), &["rs", "html", "css", "js", "md", "toml", "yml", "yaml", "sh", "c", "sql", "json", ""]) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            for place in &places {
                // At the start of an absolute path only: `network/`, `$dir/work/` and URLs are something else.
                let absolute = line.match_indices(place.as_str()).any(|(at, _)| {
                    line[..at].chars().next_back().is_none_or(|before| matches!(before, ' ' | '"' | '\'' | '`' | '(' | '=' | ':' | ','))
                });
                if absolute {
                    faults.push(format!("  {}:{}: {}", source::relative(&path), number + 1, line.trim()));
                }
            }
        }
    }
    fail_with(&faults);
}

/// The rules are worth something only if they can fail.
#[test]
fn a_breach_is_seen_and_a_mention_is_not() {
    let source = Source::parse(
        "runtime/src/x.rs".to_owned(),
        "//! About tokio and unsafe things.\nuse tokio::net;\nlet s = \"axum // unsafe\"; /* sqlx */\nlet c = '\"'; let t = unsafe_code;\nlet r = r#\"hyper\"#; unsafe {}\n"
            .to_owned(),
    );
    let seen = |word: &str| source::lines_with(&source.code, word).collect::<Vec<_>>();
    assert_eq!(seen("tokio"), [2]);
    assert_eq!(seen("axum"), Vec::<usize>::new());
    assert_eq!(seen("sqlx"), Vec::<usize>::new());
    assert_eq!(seen("hyper"), Vec::<usize>::new());
    assert_eq!(seen("unsafe"), [5]);
    assert!(in_any("server/src/node.rs", &["server/src/node"]) && !in_any("server/src/nodes/x.rs", &["server/src/node"]));
    assert!(sources().len() > 20, "the source files were not found");
}
