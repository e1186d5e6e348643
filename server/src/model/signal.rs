//! Signals by name and number, as people write them: `SIGTERM`, `term`, `15`, `RTMIN+3`. Numbers are those of x86-64 and arm64; see signal(7).

/// Number and name without `SIG`; where one number has two names, the one to print comes first.
const NAMES: [(i32, &str); 34] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (4, "ILL"),
    (5, "TRAP"),
    (6, "ABRT"),
    (6, "IOT"),
    (7, "BUS"),
    (8, "FPE"),
    (9, "KILL"),
    (10, "USR1"),
    (11, "SEGV"),
    (12, "USR2"),
    (13, "PIPE"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "STKFLT"),
    (17, "CHLD"),
    (17, "CLD"),
    (18, "CONT"),
    (19, "STOP"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (23, "URG"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (28, "WINCH"),
    (29, "IO"),
    (29, "POLL"),
    (30, "PWR"),
    (31, "SYS"),
];

pub const SIGKILL: i32 = 9;
pub const SIGTERM: i32 = 15;
/// As the C library sees it: the kernel's first two real-time signals belong to threads.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal that cannot be sent: neither a name of signal(7) nor a number from 1 to 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a signal: write a name such as SIGTERM, or a number from 1 to 64")]
pub struct UnknownSignal(pub String);

/// The number of a signal given by name, with or without `SIG` and in any case, or by number.
pub fn parse(text: &str) -> Result<i32, UnknownSignal> {
    let unknown = || UnknownSignal(text.chars().take(40).collect());
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|n| (1..=RTMAX).contains(n)).ok_or_else(unknown);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((number, _)) = NAMES.iter().find(|(_, known)| *known == name) {
        return Ok(*number);
    }
    real_time(name).filter(|n| (RTMIN..=RTMAX).contains(n)).ok_or_else(unknown)
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str, sign: char| match text {
        "" => Some(0),
        _ => text
            .strip_prefix(sign)
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|d| d.parse::<i32>().ok())
            .filter(|n| *n < 64),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(RTMIN + offset(rest, '+')?);
    }
    Some(RTMAX - offset(name.strip_prefix("RTMAX")?, '-')?)
}

/// `SIGTERM` for 15; `SIGRTMIN+n` for real-time signals; the bare number for what has no name.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("SIG{name}"),
        None if number == RTMIN => "SIGRTMIN".to_owned(),
        None if (RTMIN..=RTMAX).contains(&number) => format!("SIGRTMIN+{}", number - RTMIN),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_as_people_write_them() {
        for (text, number) in
            [("SIGTERM", 15), ("term", 15), ("9", 9), ("SigHup", 1), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("64", 64)]
        {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for bad in ["", "0", "65", "-9", "+9", "SIG", "SIGFOO", "RTMIN-1", "RTMIN+40", "RTMAX+1", "9x", "RTMIN+", " TERM", "999999999999"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_number_has_a_name_that_means_it() {
        for number in (1..=31).chain(34..=64) {
            assert_eq!(parse(&name(number)), Ok(number), "{number}");
        }
        assert_eq!(name(32), "32");
    }
}
