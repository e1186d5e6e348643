//! For the tests: the tables of docs/security.md, made from the lists that are used.

use std::fmt::{Display, Write};
use std::path::Path;

use super::capabilities::{CapSet, Capability};
use super::masked::{self, Masked};
use super::seccomp::{Decision, GROUPS};
use super::{devices, rlimit};

const PAGE: &str = "docs/security.md";

/// The page with each table between its marks made anew.
fn renewed(page: &str) -> String {
    let tables = [
        ("capabilities", capabilities()),
        ("seccomp", seccomp()),
        ("masked", hidden(&masked::MASKED)),
        ("masked without user namespace", hidden(&masked::MASKED_WITHOUT_USER_NAMESPACE)),
        ("masked in the host's sys", hidden(&masked::MASKED_IN_HOST_SYS)),
        ("read-only", table(["path", "why"], masked::READ_ONLY.iter().map(|one| [code(one.path), one.reason.to_owned()]))),
        ("nodes", nodes()),
        ("devices", table(["rule"], devices::DEFAULT_RULES.iter().map(|rule| [code(rule)]))),
        ("rlimits", rlimits()),
    ];
    tables.into_iter().fold(page.to_owned(), |page, (name, content)| {
        let mark = format!("<!-- table: {name} -->\n");
        let (before, rest) = page.split_once(&mark).unwrap_or_else(|| panic!("{PAGE} has no table {name:?}"));
        let (_, after) = rest.split_once("<!-- end -->").expect("each table has its end");
        format!("{before}{mark}\n{content}\n<!-- end -->{after}")
    })
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn code(what: impl Display) -> String {
    format!("`{what}`")
}

fn codes<T: Display>(many: impl IntoIterator<Item = T>) -> String {
    many.into_iter().map(code).collect::<Vec<_>>().join(" ")
}

fn capabilities() -> String {
    format!("{} (`{:#x}`)\n", codes(CapSet::DEFAULT.names()), CapSet::DEFAULT.bits())
}

fn seccomp() -> String {
    let with = |wanted: &[Capability]| wanted.iter().map(|one| code(one.name())).collect::<Vec<_>>().join(" or ");
    let rows = GROUPS.iter().map(|group| {
        let decision = match group.decision {
            Decision::Allow => "allowed".to_owned(),
            Decision::Refuse => "`EPERM`".to_owned(),
            Decision::Absent => "`ENOSYS`".to_owned(),
            Decision::With(wanted) => format!("with {}, else `EPERM`", with(wanted)),
            Decision::AbsentWithout(wanted) => format!("with {}, else `ENOSYS`", with(wanted)),
            Decision::OwnProcesses => "with a pid namespace of its own or `SYS_PTRACE`, else `EPERM`".to_owned(),
            Decision::Arguments(_) => "by arguments".to_owned(),
        };
        [decision, codes(group.calls.split_ascii_whitespace()), group.why.to_owned()]
    });
    table(["answer", "calls", "why"], rows)
}

fn hidden(list: &[Masked]) -> String {
    table(["path", "why"], list.iter().map(|one| [code(one.path), one.reason.to_owned()]))
}

fn nodes() -> String {
    let rows = devices::NODES.iter().map(|node| [code(node.name), format!("{}:{}", node.major, node.minor), format!("{:04o}", node.mode)]);
    table(["node", "number", "mode"], rows)
}

fn rlimits() -> String {
    let defaults = rlimit::effective(&[]);
    let rows = rlimit::names().map(|name| {
        let limit = defaults.iter().find(|limit| limit.name == name);
        let shown = |pick: fn(&rlimit::Limit) -> u64| limit.map_or_else(|| "the launcher's".to_owned(), |limit| pick(limit).to_string());
        [code(name), shown(|limit| limit.soft), shown(|limit| limit.hard)]
    });
    table(["limit", "soft by default", "hard by default"], rows)
}

#[test]
fn the_page_on_security_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let found = std::fs::read_to_string(&file).expect(PAGE);
    let wanted = renewed(&found);
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        std::fs::write(&file, &wanted).expect(PAGE);
        return;
    }
    assert!(found == wanted, "{PAGE} is stale: run `UPDATE_GENERATED=1 cargo test -p runtime --lib fresh`");
}
