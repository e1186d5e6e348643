//! Where the runtime's own processes live, and whose cgroups there are: not a container's affairs.

use std::path::Path;

use super::hierarchy::{Hierarchies, Hierarchy, Version, instance_path};
use super::{file, tree};
use crate::error::SysError;
use crate::examination::{CgroupFound, OtherInstance};
use crate::id::{InstanceId, PodId};
use crate::trace::Trace;

/// The folder of the launcher and of all that it forks: no pod can have this name.
const RUNTIME: &str = "_runtime";

/// Moves the calling process out of a service's or a session's cgroup into one of the instance's own, so that its children, the shims,
/// are not ended with that service or session. Only in the trees that service managers end processes by (systemd(1): the v2 tree, or v1's
/// `name=systemd`), and not from the root of one, which nobody ends: each move costs milliseconds.
pub fn leave_service(hierarchies: &Hierarchies, instance: &InstanceId, trace: &mut Trace) -> Result<(), SysError> {
    let own = file::read(Path::new("/proc/self/cgroup"))?;
    for hierarchy in hierarchies.all() {
        let managed = hierarchy.version == Version::V2 || hierarchy.has("name=systemd");
        let place = place_in(&own, hierarchy);
        let relative = instance_path(instance).join(RUNTIME);
        if !managed || place.is_none_or(|place| place == "/" || Path::new(place) == Path::new("/").join(&relative)) {
            continue;
        }
        tree::make_folders(hierarchies, hierarchy, &relative, trace)?;
        tree::write(&hierarchy.mount.join(&relative).join("cgroup.procs"), "0", trace)?;
    }
    Ok(())
}

/// The way back from [`leave_service`], to the root of the tree.
pub(super) fn step_out(hierarchies: &Hierarchies, instance: &InstanceId) {
    let Ok(own) = file::read(Path::new("/proc/self/cgroup")) else { return };
    let runtime = Path::new("/").join(instance_path(instance)).join(RUNTIME);
    for hierarchy in hierarchies.all().iter().filter(|hierarchy| place_in(&own, hierarchy).is_some_and(|place| Path::new(place) == runtime))
    {
        let _ = file::write(&hierarchy.mount.join("cgroup.procs"), "0");
    }
}

/// Below what is mounted, which need not be the tree's root: in a container without a cgroup namespace of its own it is the container's
/// cgroup. None for a place that cannot be seen from there. See cgroups(7): `3:memory:/path`, and `0::/path` for the v2 tree.
fn place_in<'a>(own: &'a str, hierarchy: &Hierarchy) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let same = match hierarchy.version {
            Version::V2 => controllers.is_empty(),
            Version::V1 => !controllers.is_empty() && controllers.split(',').any(|one| hierarchy.has(one)),
        };
        if !same {
            return None;
        }
        match path.strip_prefix(hierarchy.root.trim_end_matches('/'))? {
            "" => Some("/"),
            below => below.starts_with('/').then_some(below),
        }
    })
}

/// Removes the folder of [`leave_service`] where nobody is in it any more.
pub(super) fn remove_runtime(hierarchies: &Hierarchies, instance: &InstanceId) {
    for hierarchy in hierarchies.all() {
        // EBUSY: shims live on there, and the next launcher joins them.
        let _ = tree::rmdir(&hierarchy.mount.join(instance_path(instance)).join(RUNTIME));
    }
}

/// The pods of this instance that have a cgroup, each with the number of its processes.
pub fn survey(hierarchies: &Hierarchies, instance: &InstanceId) -> Vec<CgroupFound> {
    let count = |pod: &PodId| {
        let relative = instance_path(instance).join(pod.as_str());
        most_processes(hierarchies, &relative)
    };
    super::pods(hierarchies, instance).into_iter().map(|pod| CgroupFound { processes: count(&pod), pod }).collect()
}

/// Other instances that have cgroups here.
pub fn others(hierarchies: &Hierarchies, instance: Option<&InstanceId>) -> Vec<OtherInstance> {
    let folders = hierarchies.all().iter().flat_map(|hierarchy| tree::children(&hierarchy.mount));
    let mut found: Vec<InstanceId> = folders
        .filter_map(|path| path.file_name()?.to_str()?.strip_prefix("berth-")?.parse().ok())
        .filter(|id| Some(id) != instance)
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|id| OtherInstance { processes: most_processes(hierarchies, &instance_path(&id)), instance: id }).collect()
}

/// A process is in every hierarchy, but a hierarchy may lack the folder: the fullest one says it best.
fn most_processes(hierarchies: &Hierarchies, relative: &Path) -> usize {
    let count = |hierarchy: &Hierarchy| {
        let mut pids = Vec::new();
        tree::pids(&hierarchy.mount.join(relative), &mut pids);
        pids.len()
    };
    hierarchies.all().iter().map(count).max().unwrap_or(0)
}

/// What the v2 tree offers, by trying it on an empty folder: feature to `available` or the reason why not.
pub(super) fn try_features(hierarchies: &Hierarchies) -> Vec<(String, String)> {
    let names = ["cgroup-kill", "cgroup-freeze", "swap-accounting"];
    let all = |why: &str| names.map(|name| (name.to_owned(), why.to_owned())).into();
    let Some(v2) = hierarchies.v2() else { return all("no cgroup v2 tree is mounted") };
    let relative = format!("berth-probe-{}", std::process::id());
    let folder = v2.mount.join(&relative);
    if let Err(error) = tree::make_folders(hierarchies, v2, Path::new(&relative), &mut Trace::new("launcher")) {
        return all(&format!("{error}: {:?}", error.source));
    }
    let tried = |file: &str, text: &str| match file::write(&folder.join(file), text) {
        Ok(()) => "available".to_owned(),
        Err(error) => format!("{error}: {:?}", error.source),
    };
    let swap = file::get(&folder.join("memory.swap.max"))
        .map_or_else(|| format!("{} has no memory.swap.max: boot with swapaccount=1", v2.mount.display()), |_| "available".to_owned());
    let features = [tried("cgroup.kill", "1"), tried("cgroup.freeze", "0"), swap];
    let _ = tree::remove(&folder);
    names.iter().map(|name| (*name).to_owned()).zip(features).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_its_hierarchy() {
        let own = "4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/system.slice/x.service\n0::/system.slice/x.service\n";
        let table = "1 2 0:1 / /c/memory rw - cgroup none rw,memory\n1 2 0:2 / /c/cpu rw - cgroup none rw,cpu,cpuacct\n\
                     1 2 0:3 / /c/systemd rw - cgroup none rw,name=systemd\n1 2 0:4 / /c/unified rw - cgroup2 none rw\n";
        let hierarchies = Hierarchies::from_mountinfo(table).unwrap();
        let places: Vec<_> = hierarchies.all().iter().map(|hierarchy| place_in(own, hierarchy)).collect();
        let service = Some("/system.slice/x.service");
        assert_eq!(places, [Some("/a/b"), Some("/"), service, service]);
    }

    #[test]
    fn a_place_is_below_what_is_mounted() {
        let own = "5:memory:/docker/1f/berth-x\n4:name=systemd:/docker/1f\n3:cpu:/docker/1f2\n0::/else/where\n";
        let place = |version, root: &str, controllers: &[&str]| {
            let controllers = controllers.iter().map(|one| (*one).to_owned()).collect();
            place_in(own, &Hierarchy { version, mount: "/nowhere".into(), root: root.into(), controllers }).map(str::to_owned)
        };
        assert_eq!(place(Version::V1, "/docker/1f", &["memory"]).as_deref(), Some("/berth-x"));
        assert_eq!(place(Version::V1, "/docker/1f", &["name=systemd"]).as_deref(), Some("/"));
        assert_eq!(place(Version::V1, "/docker/1f", &["cpu"]), None, "another's, with the same beginning");
        assert_eq!(place(Version::V1, "/docker/1f", &["pids"]), None);
        assert_eq!(place(Version::V2, "/", &[]).as_deref(), Some("/else/where"));
        assert_eq!(place(Version::V2, "/docker/1f", &[]), None);
    }
}
