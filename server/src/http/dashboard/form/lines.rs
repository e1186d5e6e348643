//! One line of a form's field as the JSON that it stands for; None where it stands for nothing.

use serde_json::{Map, Value, json};

/// `bind:/from:/to`, `volume:name:/to`, `tmpfs:/to`; options follow after another colon: `ro,propagation=HostToContainer`, `size=64Mi,mode=1777`,
/// `noexec,nosuid`, `subPath=folder,nocopy`.
pub(super) fn mount(line: &str) -> Option<Value> {
    let parts: Vec<_> = line.split(':').map(str::trim).collect();
    let (mut mount, options) = match parts.as_slice() {
        ["tmpfs", target, options @ ..] => (json!({"type": "tmpfs", "target": target}), options),
        [kind @ ("bind" | "volume"), source, target, options @ ..] => (json!({"type": kind, "source": source, "target": target}), options),
        _ => return None,
    };
    if options.len() > 1 {
        return None;
    }
    for option in options.iter().flat_map(|options| options.split(',')).map(str::trim) {
        match option.split_once('=') {
            None if option == "ro" || option == "rw" => mount["readOnly"] = json!(option == "ro"),
            None if option == "nocopy" => mount["noCopy"] = json!(true),
            None if matches!(option, "noexec" | "nosuid" | "nodev" | "noatime" | "nosymfollow") => match &mut mount["options"] {
                Value::Array(options) => options.push(json!(option)),
                none => *none = json!([option]),
            },
            Some((name @ ("propagation" | "size" | "mode" | "subPath"), value)) => mount[name] = json!(value),
            _ => return None,
        }
    }
    Some(mount)
}

/// `/dev/vda readBps=10Mi writeIops=500`.
pub(super) fn io(line: &str) -> Option<Value> {
    let mut words = line.split_whitespace();
    let mut limit = Map::new();
    limit.insert("device".to_owned(), json!(words.next()?));
    for word in words {
        let (name, value) = word.split_once('=')?;
        let value = match name {
            "readBps" | "writeBps" => json!(value),
            "readIops" | "writeIops" => json!(value.parse::<u64>().ok()?),
            _ => return None,
        };
        limit.insert(name.to_owned(), value);
    }
    Some(Value::Object(limit))
}

/// `nofile=1024:4096`; one number is both limits.
pub(super) fn rlimit(line: &str) -> Option<Value> {
    let (kind, limits) = line.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| text.trim().parse::<u64>().ok();
    Some(json!({"type": kind.trim(), "soft": number(soft)?, "hard": number(hard)?}))
}

/// Words as a shell splits them: blanks between, quotes and backslashes around. No expansion of anything. See POSIX.1, 2.2.
pub(in crate::http::dashboard) fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote ' is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote \" is not closed")? {
                        '"' => break,
                        '\\' => match chars.next().ok_or("a quote \" is not closed")? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("nothing follows the last \\")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, wanted) in [
            ("", &[][..]),
            ("  nginx   -g 'daemon off;' ", &["nginx", "-g", "daemon off;"]),
            (r#"sh -c "echo \"hi\" \\ \n $x""#, &["sh", "-c", r#"echo "hi" \ \n $x"#]),
            (r"a\ b c''d '' e", &["a b", "cd", "", "e"]),
        ] {
            assert_eq!(words(text).unwrap(), wanted, "{text}");
        }
        for bad in ["'", "a \"b", "x \\", "\"\\"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_have_options() {
        let read = |line: &str| mount(line).unwrap();
        assert_eq!(read("bind:/a:/b"), json!({"type": "bind", "source": "/a", "target": "/b"}));
        assert_eq!(
            read("bind:/a:/b:ro,propagation=HostToContainer"),
            json!({"type": "bind", "source": "/a", "target": "/b", "readOnly": true, "propagation": "HostToContainer"})
        );
        assert_eq!(read("tmpfs:/t:size=64Mi,mode=1777"), json!({"type": "tmpfs", "target": "/t", "size": "64Mi", "mode": "1777"}));
        assert_eq!(
            read("volume:v:/t:ro,subPath=a/b,nocopy,noexec,nosuid"),
            json!({"type": "volume", "source": "v", "target": "/t", "readOnly": true, "subPath": "a/b", "noCopy": true, "options": ["noexec", "nosuid"]})
        );
        for bad in ["/a:/b", "bind:/a", "tmpfs", "bind:/a:/b:ro:rw", "bind:/a:/b:fast", "tmpfs:/t:speed=9"] {
            assert_eq!(mount(bad), None, "{bad}");
        }
    }
}
