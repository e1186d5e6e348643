//! The kernel's clock. See adjtimex(2).

/// Whether somebody keeps the clock in step with others; None where the kernel does not say. See adjtimex(2), `STA_UNSYNC`.
pub fn synchronised() -> Option<bool> {
    // SAFETY: an all-zero timex asks and changes nothing.
    let mut question: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `question` lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut question) };
    (state >= 0).then_some(question.status & libc::STA_UNSYNC == 0)
}
