//! The host: what the kernel gives, and the disk.

use runtime::examination::Examination;

use super::{Check, Verdict};

const HOST: &str = "host";
const STORAGE: &str = "storage";
const AVAILABLE: &str = "available";

/// A feature, what lacking it is, what that means, and what to do.
type Feature = (&'static str, Verdict, &'static str, &'static str);

const FEATURES: &[Feature] = &[
    (
        "user-namespaces",
        Verdict::Broken,
        "containers start only with namespaces.user: \"host\", where root inside is root outside",
        "sysctl user.max_user_namespaces=15000; a kernel with CONFIG_USER_NS",
    ),
    (
        "idmapped-mounts",
        Verdict::Broken,
        "image layers cannot be shown with a container's own ids: containers start only with namespaces.user: \"host\"",
        "Linux 5.12 or newer, and a data-dir on a file system that can do it (ext4, xfs, btrfs)",
    ),
    (
        "idmapped-volumes",
        Verdict::Degraded,
        "volumes cannot be mounted into containers that have a user namespace",
        "put the folder volumes of the data-dir on a file system that can do it (ext4, xfs, btrfs)",
    ),
    (
        "overlayfs",
        Verdict::Broken,
        "no container can be given a root file system",
        "modprobe overlay; a data-dir on a file system that can hold an upper folder (not overlayfs itself, not NFS)",
    ),
    ("seccomp", Verdict::Broken, "containers start only with security.seccomp.type: \"unconfined\"", "a kernel with CONFIG_SECCOMP_FILTER"),
    (
        "cgroup-kill",
        Verdict::Note,
        "a container's processes are killed one by one instead of at once",
        "Linux 5.14 or newer with cgroup v2 mounted",
    ),
    ("cgroup-freeze", Verdict::Note, "pausing uses the v1 freezer", "mount the cgroup v2 tree"),
    ("swap-accounting", Verdict::Degraded, "resources.memorySwap is refused", "boot with swapaccount=1"),
    (
        "raise-rlimits",
        Verdict::Degraded,
        "rlimits above the host's own stay as they are, and the container's status.conditions says so",
        "give the service CAP_SYS_RESOURCE",
    ),
    (
        "lower-oom-score",
        Verdict::Degraded,
        "a negative oomScoreAdj has no effect, and the container's status.conditions says so",
        "give the service CAP_SYS_RESOURCE",
    ),
];

/// Each with the limits that go with it.
const CONTROLLERS: &[(&[&str], &str)] = &[
    (&["cpu"], "resources.cpu and cpuShares are refused"),
    (&["memory"], "resources.memory is refused, and nothing is counted"),
    (&["pids"], "resources.pids is refused: a fork bomb is not held"),
    (&["cpuset"], "resources.cpuset is refused"),
    (&["io", "blkio"], "resources.io is refused"),
];

pub(super) fn checks(examination: &Examination) -> Vec<Check> {
    let facts = &examination.facts;
    let mut checks = vec![Check::ok(HOST, "kernel", format!("Linux {} on {}", facts.kernel, facts.architecture)), cgroups(examination)];
    for (name, lacking, meaning, remedy) in FEATURES {
        let finding = facts.features.get(*name).map_or("was not tried: the runtime is older than this program", String::as_str);
        let check = Check::ok(HOST, name, finding);
        checks.push(if finding == AVAILABLE { check } else { check.but(*lacking, meaning, remedy) });
    }
    for (name, finding) in &examination.tools {
        let check = Check::ok(HOST, name, finding);
        let remedy = if name == "tc" { "apt install iproute2" } else { "apt install nftables" };
        checks.push(if finding == AVAILABLE {
            check
        } else {
            check.but(Verdict::Note, "networks other than none and host will need it", remedy)
        });
    }
    checks.push(match examination.clock_synchronised {
        Some(true) => Check::ok(HOST, "clock", "kept in step with others"),
        _ => Check::ok(HOST, "clock", "nobody keeps it in step with others").but(
            Verdict::Note,
            "times in logs and events may differ from other machines'",
            "apt install systemd-timesyncd, or chrony",
        ),
    });
    checks.push(descriptors(examination));
    checks.extend(disk(examination));
    checks
}

fn cgroups(examination: &Examination) -> Check {
    let facts = &examination.facts;
    let check = Check::ok(HOST, "cgroups", format!("{}: {}", facts.cgroup_mode, facts.controllers.join(" ")));
    let has = |names: &[&str]| names.iter().any(|name| facts.controllers.iter().any(|one| one == name));
    let lacking: Vec<_> = CONTROLLERS.iter().filter(|(names, _)| !has(names)).map(|(_, meaning)| *meaning).collect();
    if lacking.is_empty() {
        return check;
    }
    check.but(
        Verdict::Degraded,
        &lacking.join("; "),
        "a kernel with these controllers, not disabled by cgroup_disable= or cgroup_no_v1= on its command line",
    )
}

/// A container needs about these in the launcher's and its shim's table, and one in the control plane's.
const FEW_DESCRIPTORS: u64 = 4096;

fn descriptors(examination: &Examination) -> Check {
    let found = &examination.descriptors;
    let check = Check::ok(HOST, "open-files", format!("{} for each process; {} of {} open", found.soft, found.open, found.most));
    if found.most > 0 && found.open > found.most / 10 * 9 {
        return check.but(Verdict::Degraded, "soon no program on this machine can open a file", "sysctl fs.file-max");
    }
    if found.soft < FEW_DESCRIPTORS {
        let meaning = format!("about {} containers can be watched at once", found.soft.saturating_sub(64));
        return check.but(Verdict::Degraded, &meaning, "LimitNOFILE= of the units, or ulimit -n before `berth serve`");
    }
    check
}

fn disk(examination: &Examination) -> Vec<Check> {
    let found = &examination.storage;
    let mib = |bytes: u64| bytes >> 20;
    let space = Check::ok(
        STORAGE,
        "disk-space",
        format!("{} MiB free of {} MiB on {} under the data-dir", mib(found.free_bytes), mib(found.total_bytes), found.kind),
    );
    let full = "images cannot be unpacked, and writes of containers and of the database fail";
    let remedy = "remove images and containers that are not needed, or grow the file system";
    let space = match found.free_bytes {
        0..0x400_0000 => space.but(Verdict::Broken, full, remedy),
        0x400_0000..0x4000_0000 => space.but(Verdict::Degraded, &format!("soon {full}"), remedy),
        _ => space,
    };
    // btrfs and others make inodes as they need them, and say 0.
    let inodes = (found.total_inodes > 0).then(|| {
        let check = Check::ok(STORAGE, "inodes", format!("{} free of {}", found.free_inodes, found.total_inodes));
        match found.free_inodes {
            0..1_000 => check.but(Verdict::Broken, full, remedy),
            1_000..50_000 => check.but(Verdict::Degraded, &format!("soon {full}"), remedy),
            _ => check,
        }
    });
    std::iter::once(space).chain(inodes).collect()
}
