//! What a process's memory is made of: its proportional share of each mapping, by what is mapped (smaps in proc(5)).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::engine::{Engine, Session};
use crate::running::SETTLED;
use crate::{Fault, memory};

/// A Markdown table of one container's shim and of the control plane, the largest first.
pub(crate) async fn measure(berth: &Engine, session: &mut Session) -> Result<String, Fault> {
    let pid = session.run_idle("maps").await?;
    tokio::time::sleep(SETTLED).await;
    let shim = memory::parent(pid).ok_or("the container has no parent")?;
    let mut text = "| process | mapping | PSS, KiB |\n| --- | --- | --- |\n".to_owned();
    write(&mut text, "shim", shim)?;
    for pid in memory::control_plane(berth.daemon.home(), berth.daemon.pid()?) {
        // A throwaway worker may have ended meanwhile.
        let Ok(name) = std::fs::read_to_string(format!("/proc/{pid}/comm")) else { continue };
        let _ = write(&mut text, &name, pid);
    }
    session.remove("maps").await?;
    Ok(text)
}

fn write(text: &mut String, name: &str, pid: i32) -> Result<(), Fault> {
    const WORTH_A_ROW_KIB: u64 = 32;
    let shares = shares(&std::fs::read_to_string(format!("/proc/{pid}/smaps"))?);
    let mut sorted: Vec<(&String, &u64)> = shares.iter().collect();
    sorted.sort_by_key(|(_, size)| std::cmp::Reverse(**size));
    for (mapping, size) in sorted.into_iter().filter(|(_, size)| **size >= WORTH_A_ROW_KIB) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {mapping} | {size} |", name.trim());
    }
    Ok(())
}

/// KiB by file name, `[heap]`, `[stack]` or `anonymous`.
fn shares(smaps: &str) -> BTreeMap<String, u64> {
    let mut shares = BTreeMap::new();
    let mut mapping = String::new();
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Pss:", size, ..] => *shares.entry(mapping.clone()).or_default() += size.parse().unwrap_or(0),
            // A mapping: its addresses, its rights, where in what.
            [addresses, _, _, _, _, name @ ..] if addresses.contains('-') => {
                let file = name.first().map_or("anonymous", |path| path.rsplit('/').next().unwrap_or(path));
                file.clone_into(&mut mapping);
            }
            _ => {}
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_of_the_same_file_are_added() {
        let smaps = "5500-5600 r--p 00000000 fe:00 12 /usr/bin/berth-runtime\nSize: 40 kB\nPss: 30 kB\nPss_Dirty: 3 kB\n\
                     5600-5700 r-xp 00001000 fe:00 12 /usr/bin/berth-runtime\nPss: 12 kB\n7700-7800 rw-p 00000000 00:00 0\nPss: 8 kB\n\
                     7f00-7f01 rw-p 00000000 00:00 0 [stack]\nPss: 4 kB\n";
        let shares = shares(smaps);
        let all: Vec<(&str, u64)> = shares.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        assert_eq!(all, [("[stack]", 4), ("anonymous", 8), ("berth-runtime", 42)]);
    }
}
