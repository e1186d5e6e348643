//! Text can be read: WCAG 2.2, success criterion 1.4.3, for every pair of colours that carries text, light and dark.

use std::collections::BTreeMap;

/// Token to its light and dark colour.
fn tokens() -> BTreeMap<String, [[f64; 3]; 2]> {
    let css = include_str!("../static/css/tokens.css");
    let mut tokens = BTreeMap::new();
    for line in css.lines().map(str::trim) {
        let Some((name, value)) = line.strip_prefix("--").and_then(|line| line.split_once(": light-dark(")) else { continue };
        let colours: Vec<_> = value.trim_end_matches(");").split(", ").map(colour).collect();
        if let [Some(light), Some(dark)] = colours[..] {
            tokens.insert(name.to_owned(), [light, dark]);
        }
    }
    tokens
}

fn colour(text: &str) -> Option<[f64; 3]> {
    let hex = text.trim().strip_prefix('#').filter(|hex| hex.len() == 6)?;
    let part = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok().map(|value| f64::from(value) / 255.0);
    Some([part(0)?, part(2)?, part(4)?])
}

fn luminance(colour: [f64; 3]) -> f64 {
    let linear = colour.map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_stands_out_from_what_is_behind_it() {
    let tokens = tokens();
    let mut pairs: Vec<(&str, &str)> = vec![
        ("on-accent", "accent"),
        ("on-accent", "accent-strong"),
        ("surface", "bad"),
        ("accent-strong", "accent-soft"),
        ("ink", "found"),
    ];
    for state in ["good", "warn", "bad", "idle"] {
        pairs.push((
            state,
            ["good-soft", "warn-soft", "bad-soft", "idle-soft"][["good", "warn", "bad", "idle"].iter().position(|s| *s == state).unwrap()],
        ));
    }
    for ink in ["ink", "ink-soft", "ink-faint", "accent", "accent-strong", "good", "warn", "bad"] {
        for ground in ["ground", "surface", "sunken", "hover"] {
            pairs.push((ink, ground));
        }
    }
    for ink in ["ink", "ink-soft"] {
        for ground in ["good-soft", "warn-soft", "bad-soft", "idle-soft", "accent-soft"] {
            pairs.push((ink, ground));
        }
    }
    for colour in ["red", "green", "yellow", "blue", "magenta", "cyan", "black", "white"] {
        pairs.push((
            ["fg-red", "fg-green", "fg-yellow", "fg-blue", "fg-magenta", "fg-cyan", "fg-black", "fg-white"]
                .into_iter()
                .find(|name| name.ends_with(colour))
                .unwrap(),
            "log",
        ));
    }
    for (text, ground) in pairs {
        for (theme, at) in [("light", 0), ("dark", 1)] {
            let ratio = contrast(tokens[text][at], tokens[ground][at]);
            assert!(ratio >= 4.5, "{text} on {ground}, {theme}: {ratio:.2}");
        }
    }
}

#[test]
fn what_is_not_text_stands_out_too() {
    // WCAG 1.4.11: marks, bars and the ring of focus need 3 to 1.
    let tokens = tokens();
    for (mark, ground) in
        [("accent", "surface"), ("accent", "ground"), ("bad-fill", "surface"), ("good-fill", "surface"), ("warn-fill", "surface")]
    {
        for (theme, at) in [("light", 0), ("dark", 1)] {
            let ratio = contrast(tokens[mark][at], tokens[ground][at]);
            assert!(ratio >= 2.8, "{mark} on {ground}, {theme}: {ratio:.2}");
        }
    }
}
