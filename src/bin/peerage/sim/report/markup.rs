//! Text, numbers and times as a page shows them.

use std::time::Duration;

/// Text that stands for itself in a page, whatever is in it.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // What a terminal or a page might obey, and what turns the text around it.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                safe.push('\u{fffd}');
            }
            c => safe.push(c),
        }
    }
    safe
}

/// A number with its thousands apart: `25,000`.
pub(in crate::sim) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in little room: `250`, `2.5`, `25k`, `2.5M`.
pub(super) fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        size if size >= 1e9 => (number / 1e9, "G"),
        size if size >= 1e6 => (number / 1e6, "M"),
        size if size >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    // Three digits tell ticks apart; zeros behind the point tell nothing.
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

/// A number and its noun: `1 node`, `1,000 nodes`.
pub(super) fn several(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// A length of time: `12.5 s`, `5 min`, `1 h 30 min`.
pub(in crate::sim) fn time(time: Duration) -> String {
    let millis = time.as_millis();
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let mut parts = Vec::new();
    if hours > 0 {
        parts.push(format!("{hours} h"));
    }
    if minutes > 0 {
        parts.push(format!("{minutes} min"));
    }
    if !millis.is_multiple_of(60_000) || parts.is_empty() {
        let seconds = Duration::from_millis(u64::try_from(millis % 60_000).unwrap_or(0)).as_secs_f64();
        parts.push(format!("{} s", short(seconds)));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_for_itself() {
        let hostile = "<script>alert('a&b')</script>\"\u{1b}[2J\u{202e}";
        assert_eq!(
            escaped(hostile),
            "&lt;script&gt;alert(&#39;a&amp;b&#39;)&lt;/script&gt;&quot;\u{fffd}[2J\u{fffd}"
        );
    }

    #[test]
    fn numbers_are_short_and_thousands_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let numbers = [0.0, -0.0, 0.25, 7.0, 9999.0, 25_000.0, 2.5e6, -40.0, 3e9];
        assert_eq!(numbers.map(short), ["0", "0", "0.25", "7", "9999", "25k", "2.5M", "-40", "3G"]);
        assert_eq!((several(1, "node"), several(2000, "node")), ("1 node".into(), "2,000 nodes".into()));
    }

    #[test]
    fn times_have_the_units_that_they_need() {
        let times = [0, 1500, 60_000, 5_400_000, 61_001].map(Duration::from_millis);
        assert_eq!(times.map(time), ["0 s", "1.5 s", "1 min", "1 h 30 min", "1 min 1.001 s"]);
    }
}
