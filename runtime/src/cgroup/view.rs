//! The cgroup as the kernel states it: every controller's limits and usage, file by file, word for word.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Cgroup;
use super::file;
use super::hierarchy::{Hierarchy, Version};
use crate::status::{CgroupView, ControllerView};

/// Lists of processes (another page shows them), switches, and tables that have a line for each CPU, node or slab.
const LEFT_OUT: [&str; 15] = [
    "cgroup.clone_children",
    "cgroup.event_control",
    "cgroup.procs",
    "cgroup.threads",
    "cpuacct.usage_all",
    "cpuacct.usage_percpu",
    "cpuacct.usage_percpu_sys",
    "cpuacct.usage_percpu_user",
    "memory.kmem.slabinfo",
    "memory.move_charge_at_immigrate",
    "memory.numa_stat",
    "memory.pressure_level",
    "notify_on_release",
    "release_agent",
    "tasks",
];

/// Longer ones are cut here, with a word that says so.
const LONGEST: usize = 8 * 1024;

impl Cgroup {
    /// Each controller with its files. The v2 folder of a hybrid host is one controller, `unified`; on a v2 host its files are shown under
    /// their controllers, and what belongs to none under `cgroup`.
    pub fn view(&self) -> CgroupView {
        let version = self.hierarchies.mode();
        let mut controllers = Vec::new();
        for (hierarchy, dir) in self.directories() {
            let files = files_in(&dir);
            let path = dir.display().to_string();
            if hierarchy.version == Version::V2 && version == "hybrid" {
                controllers.push(ControllerView { controller: hierarchy.label(), path, files });
                continue;
            }
            for (controller, files) in by_controller(hierarchy, files) {
                controllers.push(ControllerView { controller, path: path.clone(), files });
            }
        }
        CgroupView { version: version.to_owned(), controllers }
    }
}

fn files_in(dir: &Path) -> BTreeMap<String, String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !LEFT_OUT.contains(&name.as_str()));
    // What cannot be read is for writing only (memory.force_empty, cgroup.kill, devices.allow).
    names.filter_map(|name| file::get(&dir.join(&name)).map(|text| (name, cut(text)))).collect()
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let at = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(at);
        text.push_str("\n… (cut)");
    }
    text
}

/// By the part of the name before the first dot. A v1 hierarchy shows its own controllers' files only, and is there even without one.
fn by_controller(hierarchy: &Hierarchy, files: BTreeMap<String, String>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sorted: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    if hierarchy.version == Version::V1 {
        sorted.extend(hierarchy.controllers.iter().map(|name| (name.clone(), BTreeMap::new())));
    }
    for (name, text) in files {
        let controller = name.split('.').next().unwrap_or_default();
        let shown = hierarchy.version == Version::V2 || hierarchy.has(controller);
        if shown {
            sorted.entry(controller.to_owned()).or_default().insert(name, text);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_cut_at_a_character() {
        let text = cut("é".repeat(LONGEST));
        assert!(text.len() < LONGEST + 32 && text.ends_with("(cut)"));
        assert_eq!(cut("short".to_owned()), "short");
    }

    #[test]
    fn files_are_sorted_to_their_controllers() {
        let files: BTreeMap<String, String> =
            ["memory.max", "cgroup.events", "cpu.stat"].iter().map(|n| ((*n).to_owned(), "1".to_owned())).collect();
        let v2 = Hierarchy { version: Version::V2, mount: "/nowhere".into(), root: "/".into(), controllers: Vec::new() };
        assert_eq!(by_controller(&v2, files.clone()).into_keys().collect::<Vec<_>>(), ["cgroup", "cpu", "memory"]);
        let v1 = Hierarchy {
            version: Version::V1,
            mount: "/nowhere".into(),
            root: "/".into(),
            controllers: vec!["cpu".to_owned(), "cpuacct".to_owned()],
        };
        let sorted = by_controller(&v1, files);
        assert_eq!((sorted.len(), sorted["cpu"].len(), sorted["cpuacct"].len()), (2, 1, 0));
    }
}
