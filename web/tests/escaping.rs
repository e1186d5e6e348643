//! Untrusted text in every place where a page shows it.

mod markup;

use markup::read;
use web::format::Moment;
use web::pages::*;
use web::{Flash, Frame, Lang, Who};

/// What a hostile image, program or user may call things.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></textarea></style><svg onload=alert(1)>",
    "{{ frame.host }} {% raw %} ${x} <!-- -->",
    "a & b &amp; &#60;b&#62;",
    "exe.\u{202e}gpj",
    "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m",
    "\0\r\n\u{2028}\u{feff}\u{200b}",
    "javascript:alert(1)",
    "/\\evil.example",
];

fn frame(text: &str) -> Frame {
    Frame {
        host: text.into(),
        version: text.into(),
        who: Some(Who { name: text.into(), role: text.into() }),
        flash: Flash::done(Lang::En, "started", text),
        here: text.into(),
        socket: text.into(),
        calls: vec![web::ApiCall::get(text)],
        ..Frame::default()
    }
}

fn paging(text: &str) -> Paging {
    Paging::new("/volumes", Some(text), true, 1)
}

fn head(text: &str) -> Head {
    Head {
        name: text.into(),
        uid: text.into(),
        badge: Badge { state: State::Exited, exit_code: Some(1), reason: Some(text.into()), deleting: false },
        image: text.into(),
        pid: Some(1),
        pid_inside: None,
        started: Some(Moment::new(text, 5)),
        finished: Some(Moment::new(text, 3)),
        created: Moment::new(text, 9),
        restarts: 1,
        next_restart: Some(Moment::new(text, -9)),
        health: text.into(),
        can: Can::in_state(State::Running, true, false),
        ask_delete: true,
    }
}

/// Every page that shows someone's words, with `text` in each place.
fn pages(text: &str) -> Vec<(&'static str, String)> {
    let s = || text.to_owned();
    let pair = || vec![(s(), s())];
    let badge = || Badge { state: State::Running, exit_code: None, reason: Some(s()), deleting: false };
    let html = |name, page: &dyn Page| (name, page.html().unwrap());
    let event = || EventRow {
        sequence: 1,
        time: Moment::new(s(), 1),
        warning: true,
        kind: "Container".into(),
        name: s(),
        uid: s(),
        reason: s(),
        message: s(),
        actor: Some(s()),
    };
    vec![
        html(
            "list",
            &Containers {
                frame: frame(text),
                rows: vec![ContainerRow {
                    name: s(),
                    uid: s(),
                    badge: badge(),
                    image: s(),
                    pid: Some(3),
                    since: Some(Moment::new(s(), 1)),
                    restarts: 0,
                    memory: Gauge::default(),
                    cpu: Gauge::default(),
                    labels: pair(),
                }],
                selector: s(),
                selector_error: Some(s()),
                phase: None,
                remaining: 1,
                next: Some(s()),
                later_page: false,
                has_images: true,
            },
        ),
        html(
            "overview",
            &Overview {
                frame: frame(text),
                head: head(text),
                end: Some(End { code: Some(1), signal: Some(s()), reason: Some(s()), message: Some(s()), ran: true, ..End::default() }),
                command: vec![s()],
                working_dir: s(),
                user: s(),
                hostname: s(),
                image_digest: Some(s()),
                uid_base: None,
                isolation: pair(),
                memory: Gauge::default(),
                cpu: Gauge::default(),
                pids: Gauge::default(),
                figures: vec![("figure.peak", s())],
                restart_policy: s(),
                stop_signal: s(),
                stop_timeout: 1,
                env: pair(),
                mounts: vec![MountRow { kind: s(), source: s(), target: s(), read_only: true }],
                ports: vec![PortRow { host: s(), container: s() }],
                labels: pair(),
                conditions: vec![s()],
            },
        ),
        html(
            "logs",
            &Logs {
                frame: frame(text),
                head: head(text),
                lines: vec![LogLine { time: s(), stream: LogStream::Stderr, text: s() }],
                tail: 100,
                stream: None,
                search: s(),
                more: false,
            },
        ),
        html(
            "cgroup",
            &Cgroup {
                frame: frame(text),
                head: head(text),
                version: s(),
                controllers: vec![Controller { name: s(), path: s(), files: vec![CgroupFile { name: s(), content: s() }] }],
            },
        ),
        html(
            "namespaces",
            &Namespaces {
                frame: frame(text),
                head: head(text),
                rows: vec![Namespace {
                    kind: s(),
                    inode: 1,
                    path: s(),
                    host: false,
                    processes: 1,
                    pid: 1,
                    command: s(),
                    shared_with: pair(),
                }],
            },
        ),
        html(
            "processes",
            &Processes {
                frame: frame(text),
                head: head(text),
                remaining: 1,
                rows: vec![Process {
                    pid: 1,
                    pid_inside: 1,
                    depth: 0,
                    uid: 0,
                    uid_inside: None,
                    state: s(),
                    command: s(),
                    threads: 1,
                    memory_bytes: 1,
                    cpu_nanos: 1,
                }],
            },
        ),
        html(
            "explain",
            &Explain {
                frame: frame(text),
                head: head(text),
                operations: vec![Operation {
                    stage: s(),
                    actor: s(),
                    call: s(),
                    arguments: vec![s()],
                    duration_nanos: 1,
                    result: s(),
                    failed: true,
                    shell: s(),
                }],
            },
        ),
        html(
            "volumes",
            &Volumes {
                frame: frame(text),
                rows: vec![VolumeRow { name: s(), created: Moment::new(s(), 1), labels: pair(), used_by: vec![s()] }],
                paging: paging(text),
                form: form(text),
            },
        ),
        html("events", &Events { frame: frame(text), rows: vec![event()], kind: s(), name: s(), reason: s(), older: Some(1) }),
        html("container events", &ContainerEvents { frame: frame(text), head: head(text), rows: vec![event()] }),
        html(
            "images",
            &Images { frame: frame(text), rows: vec![image(text)], paging: paging(text), count: 1, total_bytes: 1, form: form(text) },
        ),
        html(
            "system",
            &System {
                frame: frame(text),
                facts: vec![HostFact { key: "fact.kernel", value: s() }],
                cgroup_mode: s(),
                controllers: vec![s()],
                features: vec![Feature { name: s(), missing: Some(s()) }],
                counts: vec![],
                disk: Err(s()),
            },
        ),
        html(
            "error",
            &ErrorPage {
                frame: frame(text),
                status: 500,
                title: s(),
                detail: s(),
                code: s(),
                errors: pair(),
                instance: Some(s()),
                back: "/containers".into(),
            },
        ),
        html("login", &Login { frame: frame(text), refused: Some(Refused::TooMany), next: s() }),
        html(
            "create",
            &Create {
                frame: frame(text),
                form: form(text),
                images: vec![s()],
                joinable: vec![s()],
                volumes: vec![s()],
                preview: Some(Preview { json: s(), curl: s() }),
            },
        ),
        html(
            "terminal",
            &Terminal {
                frame: frame(text),
                head: Head { badge: badge(), ..head(text) },
                tty: true,
                stdin: true,
                form: form(text),
                executed: Some(Executed { command: s(), exit_code: 1, stdout: s(), stderr: s(), signal: Some(s()), ..Executed::default() }),
            },
        ),
        html(
            "image",
            &ImagePage {
                frame: frame(text),
                image: image(text),
                layers: vec![(s(), 1)],
                origin: s(),
                entrypoint: vec![s()],
                cmd: vec![s()],
                env: pair(),
                user: s(),
                working_dir: s(),
                stop_signal: s(),
                ports: vec![s()],
                volumes: vec![s()],
                labels: pair(),
                used_by: pair(),
            },
        ),
    ]
}

fn image(text: &str) -> ImageRow {
    ImageRow {
        references: vec![text.into()],
        digest: text.into(),
        size: 1,
        layers: 1,
        platform: text.into(),
        created: None,
        command: vec![text.into()],
        used_by: 0,
    }
}

fn form(text: &str) -> CreateForm {
    let mut form = CreateForm::fresh();
    for (field, path) in FIELDS {
        form.values.insert((*field).into(), text.into());
        form.errors.push(FieldError { path: (*path).into(), message: text.into() });
    }
    form.errors.push(FieldError { path: text.into(), message: text.into() });
    form
}

#[test]
fn hostile_text_stays_text() {
    for text in HOSTILE {
        let plain = pages("plain");
        for ((name, html), (_, harmless)) in pages(text).into_iter().zip(plain) {
            // It is all there to be read,
            let shown = web::text::escaped(text);
            assert!(read(&html).iter().any(|element| element.text.contains(&shown)), "{name} hides {text:?}");
            // and the same elements as with harmless text: nothing that was said became markup.
            let names = |html: &str| read(html).into_iter().map(|element| element.name).collect::<Vec<_>>();
            let (said, wanted) = (names(&html), names(&harmless));
            assert!(said.iter().all(|element| !matches!(element.as_str(), "img" | "style")), "{name} with {text:?}");
            let count = |names: &[String], wanted: &str| names.iter().filter(|element| *element == wanted).count();
            for element in ["script", "svg", "form", "a", "input", "textarea", "title"] {
                // Marks of what was found and links that exist only for known kinds may differ in number, these may not.
                assert_eq!(count(&said, element), count(&wanted, element), "<{element}> in {name} with {text:?}");
            }
        }
    }
}

#[test]
fn nothing_unseen_reaches_a_page() {
    for text in HOSTILE {
        for (name, html) in pages(text) {
            let unseen = html.chars().find(|c| {
                (c.is_control() && *c != '\n' && *c != '\t')
                    || matches!(*c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{feff}')
            });
            assert_eq!(unseen, None, "{name} with {text:?}");
        }
    }
    let (_, list) = pages("exe.\u{202e}gpj\u{1b}[31m").swap_remove(0);
    assert!(list.contains("exe.⟨U+202E⟩gpj⟨ESC⟩[31m"));
}

#[test]
fn no_link_leaves_the_house() {
    for text in HOSTILE {
        for (name, html) in pages(text) {
            for element in read(&html) {
                for attribute in ["href", "action", "src"] {
                    let target = element.get(attribute).unwrap_or("/");
                    assert!(
                        target.starts_with('#') || (target.starts_with('/') && !target.starts_with("//") && !target.starts_with("/\\")),
                        "{name}: {attribute}={target}"
                    );
                }
            }
        }
    }
}
