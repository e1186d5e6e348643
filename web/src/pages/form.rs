//! A form: what was typed, and what the API found wrong with it, field by field. Its markup is in `templates/field.html`.

use std::collections::BTreeMap;

use crate::frame::Frame;

/// What was typed and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct CreateForm {
    /// Field name to text; checkboxes are `on` or absent.
    pub values: BTreeMap<String, String>,
    pub errors: Vec<FieldError>,
}

/// A fault of the request, by the API's own pointer.
#[derive(Debug, Clone)]
pub struct FieldError {
    /// JSON pointer into the request (RFC 6901).
    pub path: String,
    pub message: String,
}

/// Form field and the part of the request that it fills. The server reads the form by this table and finds faults their field by it.
pub const FIELDS: &[(&str, &str)] = &[
    ("image", "/spec/image"),
    ("name", "/metadata/name"),
    ("command", "/spec/command"),
    ("args", "/spec/args"),
    ("env", "/spec/env"),
    ("workingDir", "/spec/workingDir"),
    ("user", "/spec/user"),
    ("hostname", "/spec/hostname"),
    ("domainname", "/spec/domainname"),
    ("labels", "/metadata/labels"),
    ("annotations", "/metadata/annotations"),
    ("memory", "/spec/resources/memory"),
    ("memorySwap", "/spec/resources/memorySwap"),
    ("cpu", "/spec/resources/cpu"),
    ("cpuShares", "/spec/resources/cpuShares"),
    ("cpuset", "/spec/resources/cpuset"),
    ("pids", "/spec/resources/pids"),
    ("io", "/spec/resources/io"),
    ("rlimits", "/spec/rlimits"),
    ("shmSize", "/spec/shmSize"),
    ("oomScoreAdj", "/spec/oomScoreAdj"),
    ("network", "/spec/namespaces/network"),
    ("pid", "/spec/namespaces/pid"),
    ("ipc", "/spec/namespaces/ipc"),
    ("uts", "/spec/namespaces/uts"),
    ("cgroup", "/spec/namespaces/cgroup"),
    ("userns", "/spec/namespaces/user"),
    ("mounts", "/spec/mounts"),
    ("seccomp", "/spec/security/seccomp"),
    ("seccompProfile", "/spec/security/seccomp/profile"),
    ("capAdd", "/spec/security/capabilities/add"),
    ("capDrop", "/spec/security/capabilities/drop"),
    ("privileged", "/spec/security/privileged"),
    ("noNewPrivileges", "/spec/security/noNewPrivileges"),
    ("readOnlyRootfs", "/spec/security/readOnlyRootfs"),
    ("sysctls", "/spec/sysctls"),
    ("restartPolicy", "/spec/restartPolicy/name"),
    ("maximumRetryCount", "/spec/restartPolicy/maximumRetryCount"),
    ("stopSignal", "/spec/stopSignal"),
    ("stopTimeoutSeconds", "/spec/stopTimeoutSeconds"),
    ("tty", "/spec/tty"),
    ("stdin", "/spec/stdin"),
    ("init", "/spec/init"),
    ("autoRemove", "/spec/autoRemove"),
    ("logMaxSize", "/spec/logging/maxSize"),
    ("logMaxFiles", "/spec/logging/maxFiles"),
    ("healthTest", "/spec/healthcheck/test"),
    ("healthInterval", "/spec/healthcheck/intervalSeconds"),
    ("healthTimeout", "/spec/healthcheck/timeoutSeconds"),
    ("healthRetries", "/spec/healthcheck/retries"),
    ("healthStartPeriod", "/spec/healthcheck/startPeriodSeconds"),
    ("healthStartInterval", "/spec/healthcheck/startIntervalSeconds"),
    // Of the form that uploads an image: the parameters of its request, and the body.
    ("format", "/format"),
    ("reference", "/query/reference"),
    ("imageCommand", "/query/command"),
    ("file", "/body"),
];

impl CreateForm {
    /// An empty form with what holds when nothing is said.
    pub fn fresh() -> Self {
        let defaults = [
            ("network", "none"),
            ("pid", "private"),
            ("ipc", "private"),
            ("uts", "private"),
            ("cgroup", "private"),
            ("userns", "private"),
            ("seccomp", "default"),
            ("restartPolicy", "no"),
            ("noNewPrivileges", "on"),
        ];
        CreateForm { values: defaults.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), errors: Vec::new() }
    }

    pub fn get(&self, field: &str) -> &str {
        self.values.get(field).map_or("", String::as_str)
    }

    pub(in crate::pages) fn is(&self, field: &str, value: &str) -> bool {
        self.get(field) == value
    }

    pub fn is_on(&self, field: &str) -> bool {
        self.get(field) == "on"
    }

    /// The field that a fault belongs to: the one with the longest pointer that the fault's own begins with.
    pub fn field_of(path: &str) -> Option<&'static str> {
        FIELDS
            .iter()
            .filter(|(_, pointer)| path == *pointer || path.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/')))
            .max_by_key(|(_, pointer)| pointer.len())
            .map(|(field, _)| *field)
    }

    pub(in crate::pages) fn errors_of(&self, field: &str) -> Vec<&str> {
        self.errors.iter().filter(|error| Self::field_of(&error.path) == Some(field)).map(|error| error.message.as_str()).collect()
    }

    pub(in crate::pages) fn label(&self, frame: &Frame, field: &str) -> &'static str {
        frame.lang.lookup(&format!("field.{field}")).unwrap_or_default()
    }

    pub(in crate::pages) fn hint(&self, frame: &Frame, field: &str) -> &'static str {
        frame.lang.lookup(&format!("hint.{field}")).unwrap_or_default()
    }

    /// The ids of what is said about a field, for those who hear the page.
    pub(in crate::pages) fn described(&self, frame: &Frame, field: &str) -> String {
        let mut ids = Vec::new();
        if !self.hint(frame, field).is_empty() {
            ids.push(format!("hint-{field}"));
        }
        ids.extend((1..=self.errors_of(field).len()).map(|number| format!("fault-{field}-{number}")));
        ids.join(" ")
    }

    /// Anything said in these fields that does not hold by itself? Then their part of the form is open, for what cannot be seen is forgotten.
    pub(in crate::pages) fn is_open(&self, fields: &[&str]) -> bool {
        let fresh = Self::fresh();
        self.any_error(fields) || (!self.values.is_empty() && fields.iter().any(|field| self.get(field) != fresh.get(field)))
    }

    /// Any fault among these fields?
    pub(in crate::pages) fn any_error(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| !self.errors_of(field).is_empty())
    }

    /// Each fault with its field, if it has one, for the summary above the form.
    pub(in crate::pages) fn summary(&self) -> Vec<(Option<&'static str>, &FieldError)> {
        self.errors.iter().map(|error| (Self::field_of(&error.path), error)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_finds_its_field() {
        assert_eq!(CreateForm::field_of("/spec/command/0"), Some("command"));
        assert_eq!(CreateForm::field_of("/spec/resources/memorySwap"), Some("memorySwap"));
        assert_eq!(CreateForm::field_of("/spec/security/capabilities/add/3"), Some("capAdd"));
        assert_eq!(CreateForm::field_of("/spec/commands"), None);
        assert_eq!(CreateForm::field_of(""), None);
    }

    #[test]
    fn a_part_is_open_when_something_of_it_was_said() {
        let mut form = CreateForm::fresh();
        assert!(!form.is_open(&["network", "privileged", "mounts"]));
        form.values.insert("network".into(), "host".into());
        assert!(form.is_open(&["network", "pid"]) && !form.is_open(&["pid"]));
        form.values.remove("noNewPrivileges");
        assert!(form.is_open(&["noNewPrivileges"]));
    }

    #[test]
    fn every_field_has_one_pointer() {
        let fields: std::collections::BTreeSet<_> = FIELDS.iter().map(|(field, _)| field).collect();
        let pointers: std::collections::BTreeSet<_> = FIELDS.iter().map(|(_, pointer)| pointer).collect();
        assert_eq!((fields.len(), pointers.len()), (FIELDS.len(), FIELDS.len()));
    }
}
