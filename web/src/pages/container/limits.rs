//! What a container may use: asked for, as the kernel states it, and in use.

use askama::Template;

use super::{Head, Tab};
use crate::format;
use crate::frame::Frame;
use crate::pages::form::CreateForm;
use crate::pages::parts::Gauge;

const UNLIMITED: i64 = 1 << 62;

#[derive(Debug, Template)]
#[template(path = "container/limits.html")]
pub struct Limits {
    pub frame: Frame,
    pub head: Head,
    pub rows: Vec<Limit>,
    /// Pressure stall information; empty where the kernel keeps none.
    pub pressure: Vec<Pressure>,
    /// Figures that tell what the limits did: catalogue key and value.
    pub effects: Vec<(&'static str, String)>,
    /// To change them, with what is asked for now, or what was typed and is wrong.
    pub form: CreateForm,
    /// The stats stream may be followed.
    pub live: bool,
}

/// One resource.
#[derive(Debug, Clone)]
pub struct Limit {
    /// `memory`, `cpu`, `pids`, …: part of the catalogue keys.
    pub resource: &'static str,
    /// As the user wrote it; None where nothing was asked.
    pub asked: Option<String>,
    /// The kernel's files.
    pub kernel: Vec<Setting>,
    pub usage: Gauge,
}

/// A file of the cgroup and what it holds.
#[derive(Debug, Clone)]
pub struct Setting {
    pub file: String,
    pub value: String,
}

/// Share of the time in which work waited (Documentation/accounting/psi.rst).
#[derive(Debug, Clone)]
pub struct Pressure {
    /// `cpu`, `memory`, `io`.
    pub resource: String,
    pub some_avg10: f64,
    pub some_avg60: f64,
    pub some_avg300: f64,
    pub full_avg10: f64,
}

impl Limits {
    const TAB: Tab = Tab::Limits;

    fn title(&self, resource: &str) -> &'static str {
        self.frame.lang.lookup(&format!("limit.{resource}")).unwrap_or_default()
    }

    fn about(&self, resource: &str) -> &'static str {
        self.frame.lang.lookup(&format!("limit.{resource}.about")).unwrap_or_default()
    }
}

impl Limit {
    /// What a value means, where the number does not say it: `64 MiB`, `0.5 cores`, `no limit`.
    fn meaning(&self, setting: &Setting, frame: &Frame) -> Option<String> {
        let number = |text: &str| text.parse::<i64>().ok();
        let cores = |quota: i64, period: i64| frame.with("limits.cores", "count", format::cores(quota as f64 / period.max(1) as f64));
        let no_limit = || frame.t("limits.unlimited").to_owned();
        match setting.file.as_str() {
            "cpu.cfs_quota_us" => match number(&setting.value)? {
                ..0 => Some(no_limit()),
                quota => {
                    let period = self.kernel.iter().find(|other| other.file == "cpu.cfs_period_us")?;
                    Some(cores(quota, number(&period.value)?))
                }
            },
            "cpu.max" => match setting.value.split_once(' ')? {
                ("max", _) => Some(no_limit()),
                (quota, period) => Some(cores(number(quota)?, number(period)?)),
            },
            _ if setting.value == "max" => Some(no_limit()),
            file if file.starts_with("memory.") => match number(&setting.value)? {
                // Version 1 says "none" with the largest number of pages that fits.
                UNLIMITED.. => Some(no_limit()),
                value => Some(format::bytes(u64::try_from(value).ok()?)),
            },
            _ => None,
        }
    }
}

impl Pressure {
    fn text(&self, value: &f64) -> String {
        format!("{value:.2} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_into_words() {
        let meaning = |file: &str, value: &str| {
            let setting = |file: &str, value: &str| Setting { file: file.into(), value: value.into() };
            let kernel = vec![setting(file, value), setting("cpu.cfs_period_us", "100000")];
            let limit = Limit { resource: "cpu", asked: None, kernel, usage: Gauge::default() };
            limit.meaning(&limit.kernel[0], &Frame::default())
        };
        for (file, value, words) in [
            ("memory.limit_in_bytes", "67108864", Some("64 MiB")),
            ("memory.limit_in_bytes", "9223372036854771712", Some("no limit")),
            ("memory.max", "max", Some("no limit")),
            ("cpu.cfs_quota_us", "50000", Some("0.5 cores")),
            ("cpu.cfs_quota_us", "-1", Some("no limit")),
            ("cpu.max", "150000 100000", Some("1.5 cores")),
            ("cpu.max", "max 100000", Some("no limit")),
            ("pids.max", "100", None),
            ("cpu.max", "nonsense", None),
        ] {
            assert_eq!(meaning(file, value).as_deref(), words, "{file} {value}");
        }
    }
}
