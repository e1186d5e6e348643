//! What is there and no row owns, and what a row owns and is not there.

use std::collections::BTreeSet;

use runtime::examination::Inventory;

use super::{Check, Owned, Verdict};

const LEFTOVERS: &str = "leftovers";
const RESTART: &str = "restart berth: its start clears what no row owns";

pub(super) fn checks(found: &Inventory, owned: &Owned) -> Vec<Check> {
    let stray = |ids: Vec<String>, owned: &BTreeSet<String>| -> Vec<String> { ids.into_iter().filter(|id| !owned.contains(id)).collect() };
    let run_dirs = stray(found.run_dirs.iter().map(|one| one.pod.to_string()).collect(), &owned.pods);
    let cgroups = found.cgroups.iter().filter(|one| !owned.pods.contains(one.pod.as_str()));
    let cgroups: Vec<String> = cgroups.map(|one| format!("{} ({} processes)", one.pod, one.processes)).collect();
    let unfinished: Vec<String> = found.unfinished.iter().filter(|one| !one.in_use).map(|one| one.path.clone()).collect();
    let mut checks = vec![
        of("run-dirs", "sandboxes without a row", run_dirs, RESTART),
        of("cgroups", "cgroups without a row", cgroups, RESTART),
        of(
            "writable-layers",
            "folders of containers without a row",
            stray(found.pods.iter().map(ToString::to_string).collect(), &owned.pods),
            "nothing uses them: remove pods/<id> in the data-dir",
        ),
        of(
            "layers",
            "image layers without a row",
            stray(found.layers.clone(), &owned.layers),
            "nothing uses them: remove layers/<id> in the data-dir",
        ),
        of(
            "volumes",
            "volumes without a row",
            stray(found.volumes.clone(), &owned.volumes),
            "look into volumes/<id>/_data in the data-dir, keep what you need, remove the rest",
        ),
        of("half-done", "interrupted imports and removals", unfinished, "restart the launcher: its start removes them"),
        of(
            "mounts",
            "mounts in Berth's folders that Berth did not make",
            found.mounts.clone(),
            "umount them: volumes and layers below them cannot be removed",
        ),
        missing(found, owned),
        id_ranges(owned),
    ];
    let others: Vec<String> = found.other_instances.iter().map(|one| format!("{} ({} processes)", one.instance, one.processes)).collect();
    checks.push(match others.is_empty() {
        true => Check::ok(LEFTOVERS, "other-instances", "none"),
        false => Check::ok(LEFTOVERS, "other-instances", others.join(", ")).but(
            Verdict::Note,
            "another Berth has, or had, containers here: its cgroups are berth-<id>",
            "",
        ),
    });
    checks
}

fn of(name: &str, what: &str, ids: Vec<String>, remedy: &str) -> Check {
    if ids.is_empty() {
        return Check::ok(LEFTOVERS, name, "none");
    }
    Check::ok(LEFTOVERS, name, ids.join(", ")).but(Verdict::Degraded, &format!("{} {what}", ids.len()), remedy)
}

fn missing(found: &Inventory, owned: &Owned) -> Check {
    let there: BTreeSet<&str> = found.layers.iter().chain(&found.volumes).map(String::as_str).collect();
    let gone: Vec<&str> = owned.layers.iter().chain(&owned.volumes).map(String::as_str).filter(|id| !there.contains(id)).collect();
    if gone.is_empty() {
        return Check::ok("storage", "layers-and-volumes", format!("all {} are there", owned.layers.len() + owned.volumes.len()));
    }
    Check::ok("storage", "layers-and-volumes", format!("missing: {}", gone.join(", "))).but(
        Verdict::Broken,
        "containers that need them do not start",
        "load the images again (the same image brings the same layers); restore the volumes from a backup",
    )
}

/// Ids that a user of the host could use as well are no wall.
fn id_ranges(owned: &Owned) -> Check {
    let check = Check::ok(LEFTOVERS, "user-ids", format!("{} ranges of 65,536 in use", owned.id_ranges.len()));
    let clash = owned.id_ranges.iter().find_map(|(name, base)| {
        let (first, end) = (u64::from(*base), u64::from(*base) + 65_536);
        let user = owned.subordinate.iter().find(|ids| ids.first < end && first < ids.first + ids.count)?;
        Some(format!("those of {name} ({first} and on) are also in {}'s range of /etc/subuid or /etc/subgid", user.user))
    });
    match clash {
        None => check,
        Some(finding) => Check { finding, ..check }.but(
            Verdict::Degraded,
            "that user can become a user of the container on this host",
            "give the user another range: usermod --del-subuids, --add-subuids",
        ),
    }
}
