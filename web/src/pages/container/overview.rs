//! What a container is and, where it has ended, how and why.

use askama::Template;

use super::{Head, Tab};
use crate::format;
use crate::frame::Frame;
use crate::i18n::Lang;
use crate::pages::parts::{Gauge, State};

#[derive(Debug, Template)]
#[template(path = "container/overview.html")]
pub struct Overview {
    pub frame: Frame,
    pub head: Head,
    /// How the last run ended, or why it never began.
    pub end: Option<End>,
    /// Program and arguments.
    pub command: Vec<String>,
    pub working_dir: String,
    pub user: String,
    pub hostname: String,
    pub image_digest: Option<String>,
    /// First host uid of the container's range of 65,536; None where it shares the host's users.
    pub uid_base: Option<u32>,
    /// Type and mode of each namespace: `("net", "none")`.
    pub isolation: Vec<(String, String)>,
    pub memory: Gauge,
    pub cpu: Gauge,
    pub pids: Gauge,
    /// Further figures of the kernel: catalogue key and value.
    pub figures: Vec<(&'static str, String)>,
    pub restart_policy: String,
    pub stop_signal: String,
    pub stop_timeout: u64,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<MountRow>,
    pub ports: Vec<PortRow>,
    pub labels: Vec<(String, String)>,
    /// What this host could not give, in words.
    pub conditions: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct MountRow {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

#[derive(Debug, Clone)]
pub struct PortRow {
    /// `127.0.0.1:8080`.
    pub host: String,
    /// `80/TCP`.
    pub container: String,
}

/// The end of a run.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// As a shell gives it.
    pub code: Option<i32>,
    /// `SIGKILL`.
    pub signal: Option<String>,
    /// The kernel's OOM killer killed the first process.
    pub oom_killed: bool,
    /// Everything that it killed in the container's cgroup.
    pub oom_kills: u64,
    pub memory_limit: Option<u64>,
    pub memory_peak: Option<u64>,
    pub reason: Option<String>,
    /// What the runtime said.
    pub message: Option<String>,
    /// False when the program was never executed.
    pub ran: bool,
}

impl End {
    /// Went as it should?
    fn good(&self) -> bool {
        self.ran && self.code == Some(0)
    }

    /// The whole story, one sentence after the other.
    fn words(&self, lang: &Lang) -> Vec<String> {
        let lang = *lang;
        let mut words = vec![self.cause(lang)];
        if self.oom_killed {
            if let Some(peak) = self.memory_peak {
                words.push(lang.with("end.oom.peak", &[("bytes", &format::grouped(peak)), ("size", &format::bytes(peak))]));
            }
            if self.oom_kills > 1 {
                words.push(lang.count("end.oom.others", self.oom_kills - 1));
            }
        } else if self.oom_kills > 0 {
            words.push(lang.count("end.oom.children", self.oom_kills));
        }
        words
    }

    fn cause(&self, lang: Lang) -> String {
        if self.oom_killed {
            return match self.memory_limit {
                Some(limit) => lang.with("end.oom.limit", &[("bytes", &format::grouped(limit)), ("size", &format::bytes(limit))]),
                None => lang.t("end.oom.host").to_owned(),
            };
        }
        match (self.ran, &self.signal, self.code) {
            (false, _, Some(127)) => lang.t("end.never.127").to_owned(),
            (false, _, Some(126)) => lang.t("end.never.126").to_owned(),
            (false, _, _) => lang.t("end.never").to_owned(),
            (true, Some(signal), Some(code)) => {
                let meaning = lang.lookup(&format!("signal.{signal}")).unwrap_or_default();
                lang.with("end.signal", &[("signal", signal), ("code", &code), ("number", &(code - 128)), ("meaning", &meaning)])
            }
            (true, Some(signal), None) => signal.clone(),
            (true, None, Some(0)) => lang.t("end.zero").to_owned(),
            (true, None, Some(code)) => lang.with("end.code", &[("code", &code)]),
            (true, None, None) => lang.t("end.unknown").to_owned(),
        }
    }
}

impl Overview {
    const TAB: Tab = Tab::Overview;

    /// One sentence that says what is going on.
    fn lead(&self) -> String {
        let lang = self.frame.lang;
        let head = &self.head;
        match head.badge.state {
            State::Running | State::Paused => {
                let key = if head.badge.state == State::Running { "lead.running" } else { "lead.paused" };
                let pid = head.pid.map(|pid| pid.to_string()).unwrap_or_default();
                lang.with(key, &[("time", &head.uptime(&self.frame).unwrap_or_default()), ("pid", &pid)])
            }
            State::Created if self.end.is_some() => lang.t("lead.never").to_owned(),
            State::Created => lang.t("lead.created").to_owned(),
            State::Restarting => match &head.next_restart {
                Some(next) => lang.with("lead.restarting.at", &[("time", &next.relative(lang))]),
                None => lang.t("lead.restarting").to_owned(),
            },
            State::Exited | State::Dead => match (&head.finished, head.uptime(&self.frame)) {
                (Some(finished), Some(ran)) => lang.with("lead.ended", &[("ago", &finished.relative(lang)), ("ran", &ran)]),
                (Some(finished), None) => lang.with("lead.failed", &[("ago", &finished.relative(lang))]),
                _ => lang.t("lead.ended.unknown").to_owned(),
            },
        }
    }

    /// What the script calls the figure `figure.read`: `read`.
    fn stat_name<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix("figure.").unwrap_or(key)
    }

    /// `0 – 65,535 → 231,072 – 296,607`.
    fn uid_words(&self) -> String {
        match self.uid_base {
            Some(base) => {
                let range = |from: u32| format!("{} – {}", format::grouped(from.into()), format::grouped(u64::from(from) + 65_535));
                self.frame.lang.with("uid.mapped", &[("inside", &range(0)), ("outside", &range(base))])
            }
            None => self.frame.t("uid.host").to_owned(),
        }
    }

    fn stop_words(&self) -> String {
        self.frame.lang.with("overview.stop.how", &[("signal", &self.stop_signal), ("seconds", &self.stop_timeout)])
    }

    fn mode_class(&self, mode: &str) -> &'static str {
        match mode {
            "host" => "shared",
            mode if mode.starts_with("container:") => "joined",
            _ => "own",
        }
    }

    fn mode_words(&self, mode: &str) -> String {
        let lang = self.frame.lang;
        match mode.strip_prefix("container:") {
            Some(other) => lang.with("mode.joined", &[("name", &other)]),
            None => lang.lookup(&format!("mode.{mode}")).map_or_else(|| mode.to_owned(), str::to_owned),
        }
    }

    fn what(&self, kind: &str) -> &'static str {
        self.frame.lang.lookup(&format!("ns.{kind}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oom_kill_names_limit_and_peak() {
        let end = End {
            code: Some(137),
            signal: Some("SIGKILL".into()),
            oom_killed: true,
            oom_kills: 3,
            memory_limit: Some(10_000_000),
            memory_peak: Some(9_998_336),
            ran: true,
            ..End::default()
        };
        assert_eq!(
            end.words(&Lang::En).join(" "),
            "Killed by the kernel’s OOM killer at a memory limit of 10,000,000 bytes (9.54 MiB). \
             Its use peaked at 9,998,336 bytes (9.54 MiB). 2 more of its processes were killed the same way."
        );
        assert!(end.words(&Lang::Zh).join("").contains("10,000,000"));
    }

    #[test]
    fn each_end_has_its_own_words() {
        let ends = [
            End { code: Some(0), ran: true, ..End::default() },
            End { code: Some(3), ran: true, ..End::default() },
            End { code: Some(143), signal: Some("SIGTERM".into()), ran: true, ..End::default() },
            End { code: Some(139), signal: Some("SIGSEGV".into()), ran: true, ..End::default() },
            End { code: Some(127), ..End::default() },
            End { code: Some(126), ..End::default() },
            End::default(),
            End { ran: true, ..End::default() },
            End { code: Some(137), oom_killed: true, ran: true, ..End::default() },
        ];
        for lang in Lang::ALL {
            let words: std::collections::BTreeSet<_> = ends.iter().map(|end| end.words(&lang).join(" ")).collect();
            assert_eq!(words.len(), ends.len(), "{words:?}");
        }
    }
}
