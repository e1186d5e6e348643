//! Which system calls a container may make: from a profile and a set of capabilities to a program for the kernel.
//!
//! ```text
//! Default ---> profile --\
//!                         >--> policy (rules by call number) ---> compile ---> Filter ---> sys::seccomp::load
//! Custom  ---> custom  --/                     ^                                  \---> interpret (what does it decide?)
//!                                            names (numbers by architecture)
//! ```
//!
//! Loading it is not done here: `sys::seccomp` does, last of all before execve.
//!
//! Why no libseccomp: the library that the distributions ship (2.5.4 in Debian 12) does not know the calls of the last years, so that a
//! profile's decision about them would be dropped without a word; it would be C code in a tiny process that runs as root; it merges some
//! rules of one call wrongly (see `tests/profiles.rs`); and its programs are three times as long (345 instructions for Docker's profile
//! against 107 here). What it does is small and pure, so that it can be checked: the tests compare each verdict of ours with those of
//! libseccomp's programs, for every number and for arguments around every edge, and with a plain reading of the rules.

mod compile;
mod custom;
mod interpret;
mod json;
pub mod names;
#[cfg(test)]
mod oracle;
mod policy;
mod profile;

use crate::config::{ConfigError, Seccomp, Security};
use crate::security::capabilities::{self, CapSet, Capability};

pub use crate::sys::seccomp::SockFilter;
pub use custom::KernelVersion;
pub use interpret::Call;
pub use names::Arch;
pub use policy::Verdict;
pub use profile::why;
#[cfg(test)]
pub(super) use profile::{Decision, GROUPS};

/// Where in a container's configuration a custom profile is.
const PROFILE: &str = "/security/seccomp/profile";

/// A program that the kernel accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub program: Vec<SockFilter>,
}

impl Filter {
    /// What the kernel will do with a call of the native ABI.
    pub fn verdict(&self, number: u32, arguments: [u64; 6]) -> Verdict {
        self.verdict_of(&Call { number, arch: Arch::NATIVE.audit(), arguments })
    }

    /// What the kernel will do with any call.
    pub fn verdict_of(&self, call: &Call) -> Verdict {
        // A program of ours always returns a verdict; the kernel's answer to a word that it does not know is the hardest one, too.
        interpret::run(&self.program, call).unwrap_or(Verdict::KillProcess)
    }

    /// The native calls that this filter does not let through when all their arguments are zero, by name, with the verdict: for display.
    pub fn refused(&self) -> Vec<(&'static str, Verdict)> {
        let passes = |verdict| matches!(verdict, Verdict::Allow | Verdict::Log);
        Arch::NATIVE.calls().map(|(name, number)| (name, self.verdict(number, [0; 6]))).filter(|&(_, verdict)| !passes(verdict)).collect()
    }
}

/// What a profile depends on besides capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub arch: Arch,
    /// For a custom profile's `minKernel`.
    pub kernel: KernelVersion,
    /// True when all processes that the container can see are its own: then the default profile lets it trace them.
    pub own_processes: bool,
}

impl Options {
    /// For this machine.
    pub fn host(own_processes: bool) -> Options {
        Options { arch: Arch::NATIVE, kernel: KernelVersion::running(), own_processes }
    }
}

/// The filter of a container: none where it is unconfined, or privileged without a profile of its own (Docker's rule).
///
/// Fails where `compile` does, and for capability names that are not known.
pub fn for_container(security: &Security, options: &Options) -> Result<Option<Filter>, ConfigError> {
    if security.privileged && security.seccomp == Seccomp::Default {
        return Ok(None);
    }
    compile(&security.seccomp, capabilities::effective_set(security)?, options)
}

/// Makes the filter that a profile means for a container with these capabilities; None for `Unconfined`.
///
/// Only a custom profile can fail: an error points into it, below `/security/seccomp/profile`. Takes far below a millisecond.
pub fn compile(profile: &Seccomp, capabilities: CapSet, options: &Options) -> Result<Option<Filter>, ConfigError> {
    let policy = match profile {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => profile::policy(options.arch, capabilities, options.own_processes),
        Seccomp::Custom { profile } => custom::policy(profile, capabilities, options)?,
    };
    let program = compile::program(&policy);
    if program.len() > compile::MAX_INSTRUCTIONS {
        let message = format!("needs {} instructions; the kernel takes at most {}", program.len(), compile::MAX_INSTRUCTIONS);
        return Err(ConfigError { path: PROFILE.to_owned(), message });
    }
    Ok(Some(Filter { program }))
}

#[cfg(test)]
mod tests;
