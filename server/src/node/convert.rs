//! From what the user speaks to what the runtime is asked: spec and image in, sandbox and container out. Pure.
//!
//! The image's configuration was written by a stranger: it passes the same rules as the user's own words, or the container does not start.
//! How the two mix are Docker's rules, and Kubernetes' where it names `command` and `args`.

use std::collections::BTreeMap;

use runtime::config as down;
use runtime::id::{ContainerName, LayerId, PodId, VolumeId};
use runtime::status::HostFacts;

use crate::model::container as up;
use crate::model::image::ImageConfig;
use crate::model::signal;
use crate::model::validate::{Fault, Faults, NamespaceWish, capability, check_user, image_volumes, parse_mode};
use crate::model::volume::plain_path;
use crate::model::{ContainerSpec, ObjectMeta};
use crate::store::{ContainerRecord, ImageRecord};

/// What `PATH` is where nobody says otherwise; Docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ID_RANGE: u32 = 65_536;

/// Why a stored container cannot be put into the runtime's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error("neither the spec nor the image names a program: set command")]
    NoProgram,
    #[error("the image's user: {0}; set user")]
    ImageUser(String),
    #[error("the volume {0:?} does not exist")]
    NoVolume(String),
    #[error("the image's layer {0:?} is not a digest")]
    Layer(String),
    #[error("namespaces.{field}: {message}")]
    Namespace { field: &'static str, message: String },
    #[error("{0}")]
    Name(String),
}

/// Another running container whose namespaces are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub pod: PodId,
    /// It has the host's user namespace.
    pub host_users: bool,
}

/// All that goes into a start.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    pub record: &'a ContainerRecord,
    pub image: &'a ImageRecord,
    pub joined: Option<&'a Joined>,
    /// By name; those of this container alone by where they are mounted.
    pub volumes: &'a BTreeMap<String, VolumeId>,
    pub counts_swap: bool,
    pub attempt: u32,
}

/// The sandbox of a container that runs by itself.
pub fn pod(start: Start<'_>) -> Result<down::PodConfig, ConvertError> {
    let spec = &start.record.spec;
    let namespaces = namespaces(spec, start.joined)?;
    let base = start.record.uid_base().filter(|_| namespaces.user == down::NamespaceMode::Private);
    Ok(down::PodConfig {
        id: start.record.uid.clone(),
        name: start.record.meta.name.clone(),
        namespaces,
        id_map: base.map(|base| down::IdMap { base, size: ID_RANGE }),
        hostname: hostname(&start.record.meta, spec),
        domainname: spec.domainname.clone(),
        dns: None,
        host_aliases: Vec::new(),
        sysctls: spec.sysctls.clone(),
    })
}

/// The container in it.
pub fn container(start: Start<'_>) -> Result<down::ContainerConfig, ConvertError> {
    let Start { record, image, .. } = start;
    let spec = &record.spec;
    Ok(down::ContainerConfig {
        name: name(record)?,
        attempt: start.attempt,
        rootfs: down::Rootfs { layers: layers(image)?, read_only: spec.security.read_only_rootfs },
        mounts: mounts(start)?,
        shm_size: spec.shm_size.map(|bytes| bytes.0),
        process: process(record, &image.oci.config)?,
        resources: resources(&spec.resources, start.counts_swap),
        security: security(&spec.security),
        rlimits: spec.rlimits.iter().map(|l| down::Rlimit { kind: l.kind.clone(), soft: l.soft, hard: l.hard }).collect(),
        oom_score_adj: spec.oom_score_adj,
        log: down::LogConfig { max_size: spec.logging.max_size.0, max_files: spec.logging.max_files },
        init: spec.init,
    })
}

/// What the container is called inside its sandbox.
pub fn name(record: &ContainerRecord) -> Result<ContainerName, ConvertError> {
    record.meta.name.parse().map_err(|error: runtime::id::InvalidId| ConvertError::Name(error.to_string()))
}

/// Program and arguments.
///
/// `command` replaces the image's entrypoint and drops its cmd, `args` replaces the cmd, as in Kubernetes; an empty `command` is an
/// entrypoint of nothing, as `--entrypoint ""` in Docker.
pub fn argv(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, ConvertError> {
    let argv: Vec<String> = match (&spec.command, &spec.args) {
        (Some(command), args) => command.iter().chain(args.iter().flatten()).cloned().collect(),
        (None, Some(args)) => image.entrypoint.iter().chain(args).cloned().collect(),
        (None, None) => image.entrypoint.iter().chain(&image.cmd).cloned().collect(),
    };
    if argv.first().is_none_or(String::is_empty) { Err(ConvertError::NoProgram) } else { Ok(argv) }
}

/// The signal that asks the container to end: the spec's, then the image's, then SIGTERM.
pub fn stop_signal(spec: &ContainerSpec, image: Option<&ImageRecord>) -> i32 {
    let of_image = image.map(|image| image.oci.config.stop_signal.as_str());
    let named = [spec.stop_signal.as_deref(), of_image].into_iter().flatten();
    named.filter_map(|text| signal::parse(text).ok()).next().unwrap_or(signal::SIGTERM)
}

/// Limits in the kernel's units. Memory without a word about swap means no swap, so that the limit is what it says; where this host does not
/// count swap, it cannot be asked for.
pub fn resources(resources: &up::Resources, counts_swap: bool) -> down::Resources {
    let no_swap = resources.memory.filter(|_| counts_swap);
    let memory_swap = resources.memory_swap.or(no_swap).map(|bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX));
    let io = |limit: &up::IoLimit| down::IoLimit {
        device: limit.device.clone(),
        read_bps: limit.read_bps.map(|b| b.0),
        write_bps: limit.write_bps.map(|b| b.0),
        read_iops: limit.read_iops,
        write_iops: limit.write_iops,
    };
    down::Resources {
        cpu_millis: resources.cpu.map(|cpu| cpu.millis),
        cpu_shares: resources.cpu_shares,
        cpuset: resources.cpuset.clone(),
        memory: resources.memory.map(|bytes| bytes.0),
        memory_swap,
        pids: resources.pids,
        io: resources.io.iter().map(io).collect(),
    }
}

/// True where a limit of memory and swap together can be asked for.
pub fn counts_swap(facts: &HostFacts) -> bool {
    facts.features.get("swap-accounting").is_some_and(|state| state == "available")
}

/// What can be known before a start about spec and image together: faults with the user's own paths. The rules of the spec alone are
/// `validate`'s.
pub fn check(spec: &ContainerSpec, image: &ImageConfig) -> Vec<Fault> {
    let mut faults = Faults::default();
    if let Err(error) = argv(spec, image) {
        faults.add("/spec/command", error.to_string());
    }
    if let Err(error) = user(spec, image) {
        faults.add("/spec/user", error.to_string());
    }
    if let Some(message) = image_volumes(spec, image) {
        faults.add("/spec/image", message);
    }
    if spec.security.seccomp.kind == up::SeccompType::Custom {
        let options = runtime::security::seccomp::Options::host(spec.namespaces.pid == "private");
        if let Err(error) = runtime::security::seccomp::for_container(&security(&spec.security), &options) {
            faults.add(format!("/spec{}", error.path), error.message);
        }
    }
    faults.into_vec()
}

/// The container's own, else its name.
pub fn hostname(meta: &ObjectMeta, spec: &ContainerSpec) -> String {
    spec.hostname.clone().unwrap_or_else(|| meta.name.clone())
}

fn namespaces(spec: &ContainerSpec, joined: Option<&Joined>) -> Result<down::Namespaces, ConvertError> {
    let mode = |field: &'static str, text: &str| match (NamespaceWish::parse(field, text), joined) {
        (Err(message), _) => Err(ConvertError::Namespace { field, message }),
        (Ok(NamespaceWish::Private), _) => Ok(down::NamespaceMode::Private),
        (Ok(NamespaceWish::Host), _) => Ok(down::NamespaceMode::Host),
        (Ok(NamespaceWish::Container(_)), Some(joined)) => Ok(down::NamespaceMode::Join { pod: joined.pod.clone() }),
        (Ok(NamespaceWish::Container(name)), None) => {
            Err(ConvertError::Namespace { field, message: format!("the container {name:?} is not running") })
        }
    };
    let own_user = mode("user", &spec.namespaces.user)?;
    // Who joins another's namespaces joins the user namespace that owns them, or has no rights over them.
    let user = match (own_user, joined) {
        (down::NamespaceMode::Private, Some(joined)) if joined.host_users => down::NamespaceMode::Host,
        (down::NamespaceMode::Private, Some(joined)) => down::NamespaceMode::Join { pod: joined.pod.clone() },
        (own, _) => own,
    };
    Ok(down::Namespaces {
        network: mode("network", &spec.namespaces.network)?,
        pid: mode("pid", &spec.namespaces.pid)?,
        ipc: mode("ipc", &spec.namespaces.ipc)?,
        uts: mode("uts", &spec.namespaces.uts)?,
        cgroup: mode("cgroup", &spec.namespaces.cgroup)?,
        user,
    })
}

fn layers(image: &ImageRecord) -> Result<Vec<LayerId>, ConvertError> {
    let digits = |id: &str| id.strip_prefix("sha256:").unwrap_or(id).parse().map_err(|_| ConvertError::Layer(id.to_owned()));
    image.layers.iter().map(|layer| digits(&layer.diff_id)).collect()
}

/// The spec's, and the volumes that the image asks for.
fn mounts(start: Start<'_>) -> Result<Vec<down::Mount>, ConvertError> {
    let spec = &start.record.spec;
    let own = spec.mounts.iter().map(|mount| self::mount(mount, start.volumes));
    let taken: Vec<String> = spec.mounts.iter().map(|mount| plain_path(&mount.target)).collect();
    let anonymous = start.volumes.iter().filter(|(target, _)| target.starts_with('/') && !taken.contains(target));
    let anonymous = anonymous.map(|(target, id)| {
        Ok(down::Mount {
            source: down::MountSource::Volume { id: id.clone(), copy_up: true, sub_path: None },
            target: target.clone(),
            read_only: false,
            propagation: down::Propagation::Private,
            options: Vec::new(),
        })
    });
    own.chain(anonymous).collect()
}

fn mount(mount: &up::Mount, volumes: &BTreeMap<String, VolumeId>) -> Result<down::Mount, ConvertError> {
    let given = mount.source.clone().unwrap_or_default();
    let source = match mount.kind {
        up::MountType::Bind => down::MountSource::Bind { path: given },
        up::MountType::Volume => {
            let key = mount.source.clone().unwrap_or_else(|| plain_path(&mount.target));
            let id = volumes.get(&key).cloned().ok_or(ConvertError::NoVolume(key))?;
            down::MountSource::Volume { id, copy_up: !mount.no_copy, sub_path: mount.sub_path.clone() }
        }
        up::MountType::Tmpfs => {
            down::MountSource::Tmpfs { size: mount.size.map(|bytes| bytes.0), mode: mount.mode.as_deref().and_then(parse_mode) }
        }
    };
    let propagation = match mount.propagation {
        None | Some(up::Propagation::None) => down::Propagation::Private,
        Some(up::Propagation::HostToContainer) => down::Propagation::HostToContainer,
        Some(up::Propagation::Bidirectional) => down::Propagation::Bidirectional,
    };
    let option = |option: &up::MountOption| match option {
        up::MountOption::Noexec => down::MountOption::Noexec,
        up::MountOption::Nosuid => down::MountOption::Nosuid,
        up::MountOption::Nodev => down::MountOption::Nodev,
        up::MountOption::Noatime => down::MountOption::Noatime,
        up::MountOption::Nosymfollow => down::MountOption::Nosymfollow,
    };
    let options = mount.options.iter().map(option).collect();
    Ok(down::Mount { source, target: mount.target.clone(), read_only: mount.read_only, propagation, options })
}

/// What is run: program, environment, folder, user.
pub fn process(record: &ContainerRecord, image: &ImageConfig) -> Result<down::Process, ConvertError> {
    let spec = &record.spec;
    Ok(down::Process {
        argv: argv(spec, image)?,
        env: environment(spec, image, &hostname(&record.meta, spec)),
        cwd: spec.working_dir.clone().unwrap_or_else(|| image_folder(&image.working_dir)),
        user: user(spec, image)?,
        additional_gids: Vec::new(),
        tty: spec.tty,
        stdin: spec.stdin,
    })
}

/// The spec's, else the image's, else root.
fn user(spec: &ContainerSpec, image: &ImageConfig) -> Result<String, ConvertError> {
    match &spec.user {
        Some(user) => Ok(user.clone()),
        None if image.user.is_empty() => Ok(String::new()),
        None => check_user(&image.user).map(|()| image.user.clone()).map_err(ConvertError::ImageUser),
    }
}

/// The image's working folder, with `.` and `..` worked out: image builders write them, and the runtime takes only what leads where it says.
fn image_folder(folder: &str) -> String {
    if folder.contains('\0') { "/".to_owned() } else { plain_path(folder) }
}

/// The image's, overridden and followed by the spec's; then what is always there unless somebody set it. HOME comes from the runtime, which
/// can read the container's /etc/passwd.
fn environment(spec: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Vec<String> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => variables.push((name.to_owned(), value.to_owned())),
    };
    set("PATH", DEFAULT_PATH);
    set("HOSTNAME", hostname);
    if spec.tty {
        set("TERM", "xterm");
    }
    for line in image.env.iter().filter(|line| !line.contains('\0')) {
        if let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.is_empty()) {
            set(name, value);
        }
    }
    for variable in &spec.env {
        set(&variable.name, &variable.value);
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn security(security: &up::Security) -> down::Security {
    let names = |list: &[String]| list.iter().filter_map(|name| capability(name)).collect();
    let seccomp = match (security.seccomp.kind, &security.seccomp.profile) {
        (up::SeccompType::Custom, Some(profile)) => down::Seccomp::Custom { profile: profile.clone() },
        (up::SeccompType::Unconfined, _) => down::Seccomp::Unconfined,
        _ => down::Seccomp::Default,
    };
    down::Security {
        privileged: security.privileged,
        cap_add: names(&security.capabilities.add),
        cap_drop: names(&security.capabilities.drop),
        no_new_privileges: security.no_new_privileges,
        seccomp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::EnvVar;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn command_and_args_follow_docker_and_kubernetes() {
        let image = ImageConfig { entrypoint: list(&["entry"]), cmd: list(&["cmd", "x"]), ..ImageConfig::default() };
        let bare = ImageConfig::default();
        let spec = |command: Option<&[&str]>, args: Option<&[&str]>| ContainerSpec {
            command: command.map(list),
            args: args.map(list),
            ..ContainerSpec::default()
        };
        for (command, args, wanted) in [
            (None, None, Some(&["entry", "cmd", "x"][..])),
            (None, Some(&["a"][..]), Some(&["entry", "a"])),
            (Some(&["c"][..]), None, Some(&["c"])),
            (Some(&["c"]), Some(&["a"]), Some(&["c", "a"])),
            (Some(&[]), Some(&["a"]), Some(&["a"])),
            (Some(&[]), None, None),
        ] {
            assert_eq!(argv(&spec(command, args), &image).ok(), wanted.map(list), "{command:?} {args:?}");
        }
        assert_eq!(argv(&spec(None, None), &bare), Err(ConvertError::NoProgram));
    }

    #[test]
    fn environments_are_merged_by_name_and_a_hostile_image_adds_nothing_odd() {
        let image = ImageConfig { env: list(&["PATH=/bin", "A=1", "=x", "junk", "B=\0"]), ..ImageConfig::default() };
        let env = |name: &str, value: &str| EnvVar { name: name.to_owned(), value: value.to_owned() };
        let spec = ContainerSpec { env: vec![env("A", "2"), env("C", "a=b"), env("C", "3")], ..ContainerSpec::default() };
        assert_eq!(environment(&spec, &image, "web"), ["PATH=/bin", "HOSTNAME=web", "A=2", "C=3"]);
        let tty = ContainerSpec { tty: true, ..ContainerSpec::default() };
        let names: Vec<_> =
            environment(&tty, &ImageConfig::default(), "h").into_iter().map(|l| l.split('=').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["PATH", "HOSTNAME", "TERM"]);
    }

    #[test]
    fn who_joins_another_joins_its_users() {
        let pod: PodId = "1".repeat(32).parse().unwrap();
        let join = down::NamespaceMode::Join { pod: pod.clone() };
        let mut spec = ContainerSpec::default();
        spec.namespaces.network = "container:other".to_owned();
        let result = |host_users| namespaces(&spec, Some(&Joined { pod: pod.clone(), host_users })).unwrap();
        assert_eq!(
            (result(false).network, result(false).user, result(false).pid),
            (join.clone(), join.clone(), down::NamespaceMode::Private)
        );
        assert_eq!(result(true).user, down::NamespaceMode::Host);
        assert!(matches!(namespaces(&spec, None), Err(ConvertError::Namespace { field: "network", .. })));
        assert_eq!(namespaces(&ContainerSpec::default(), None).unwrap().user, down::NamespaceMode::Private);
    }

    #[test]
    fn memory_without_a_word_about_swap_means_no_swap_where_swap_is_counted() {
        let limits = up::Resources { memory: Some(crate::model::quantity::Bytes(100)), ..up::Resources::default() };
        assert_eq!(resources(&limits, false).memory_swap, None);
        assert_eq!(resources(&limits, true).memory_swap, Some(100));
        let both = up::Resources { memory_swap: Some(crate::model::quantity::Bytes(300)), ..limits };
        assert_eq!(resources(&both, true).memory_swap, Some(300));
    }

    #[test]
    fn what_an_image_says_of_folder_and_user_is_made_plain_or_told() {
        for (given, wanted) in [("", "/"), ("/a/./b/../c/", "/a/c"), ("../../etc", "/etc"), ("a", "/a"), ("/a\0b", "/")] {
            assert_eq!(image_folder(given), wanted, "{given:?}");
        }
        let image = ImageConfig { user: "1x".to_owned(), ..ImageConfig::default() };
        let paths = |spec: &ContainerSpec| check(spec, &image).into_iter().map(|fault| fault.path).collect::<Vec<_>>();
        assert_eq!(paths(&ContainerSpec::default()), ["/spec/command", "/spec/user"]);
        let mut spec = ContainerSpec { command: Some(list(&["x"])), user: Some("0".to_owned()), ..ContainerSpec::default() };
        assert_eq!(paths(&spec), Vec::<String>::new());
        let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "NOPE"}]});
        spec.security.seccomp = up::SeccompSpec { kind: up::SeccompType::Custom, profile: Some(profile) };
        assert!(paths(&spec)[0].starts_with("/spec/security/seccomp/profile/syscalls/0"), "{:?}", paths(&spec));
    }
}
