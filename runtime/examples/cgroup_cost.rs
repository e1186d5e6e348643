//! What a container's cgroup costs on this host, step by step: medians in microseconds. Needs root.
//!
//! ```text
//! cargo run --release -p runtime --example cgroup_cost -- [rounds]
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use runtime::cgroup::{Cgroup, DeviceAccess, DeviceKind, DeviceRule, DeviceRules, Hierarchies, leave, prepare};
use runtime::config::Resources;
use runtime::id::{ContainerName, InstanceId, PodId};
use runtime::trace::Trace;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(200), |text| text.parse::<u32>())?;
    let instance: InstanceId = format!("{:08x}", std::process::id()).parse()?;
    let name: ContainerName = "cost".parse()?;
    let rules = [1, 3, 5, 7, 8, 9].map(|minor| DeviceRule {
        kind: DeviceKind::Char,
        major: Some(1),
        minor: Some(minor),
        access: DeviceAccess::ALL,
    });
    let limits =
        Resources { cpu_millis: Some(500), memory: Some(64 << 20), memory_swap: Some(64 << 20), pids: Some(100), ..Resources::default() };
    let mut steps = Steps::default();
    let hierarchies = Hierarchies::detect()?;
    let outcome = (|| -> Result<(), Box<dyn Error>> {
        prepare(&hierarchies, &instance, &mut Trace::new("cost"))?;
        for round in 0..rounds {
            let pod: PodId = format!("{round:032x}").parse()?;
            let mut trace = Trace::new("cost");
            steps.time("detect", Hierarchies::detect)?;
            let plain =
                || Cgroup::create(&hierarchies, &instance, &pod, &name, &Resources::default(), &DeviceRules::All, &mut Trace::new("cost"));
            let cgroup = steps.time("create: pod and container, nothing set", plain)?;
            steps.time("remove: container and pod", || cgroup.remove(Instant::now() + Duration::from_secs(5)))?;
            let whole = || Cgroup::create(&hierarchies, &instance, &pod, &name, &limits, &DeviceRules::Only(&rules), &mut trace);
            let cgroup = steps.time("create: pod and container, limits, device list", whole)?;
            drop(steps.time("tasks_fds and leaf_fd", || cgroup.tasks_fds().and_then(|fds| Ok((fds, cgroup.leaf_fd()?))))?);
            steps.time("apply, one limit changed", || {
                cgroup.apply(&Resources { pids: Some(99), ..limits.clone() }, &mut Trace::new("cost"))
            })?;
            steps.time("stats", || {
                drop(cgroup.stats());
                Ok::<_, Box<dyn Error>>(())
            })?;
            steps.time("view", || {
                drop(cgroup.view());
                Ok::<_, Box<dyn Error>>(())
            })?;
            cgroup.remove(Instant::now() + Duration::from_secs(5))?;
        }
        Ok(())
    })();
    leave(&hierarchies, &instance);
    println!("{} host, {rounds} rounds, median (and 9 of 10 below)", hierarchies.mode());
    steps.print();
    outcome
}

#[derive(Default)]
struct Steps(Vec<(&'static str, Vec<Duration>)>);

impl Steps {
    fn time<T, E>(&mut self, step: &'static str, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let start = Instant::now();
        let outcome = run();
        let took = start.elapsed();
        match self.0.iter_mut().find(|(name, _)| *name == step) {
            Some((_, times)) => times.push(took),
            None => self.0.push((step, vec![took])),
        }
        outcome
    }

    fn print(&mut self) {
        for (step, times) in &mut self.0 {
            times.sort_unstable();
            let at = |part: usize| times.get(times.len() * part / 10).map_or(0, Duration::as_micros);
            println!("{:>8} us  ({:>6})  {step}", at(5), at(9));
        }
    }
}
