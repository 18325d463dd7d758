//! The tables of a scenario's text: each value with its bounds, each mistake with its place.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Fault, Listed};

/// A value, and the byte of the text where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<T> At<T> {
    pub(super) fn fault(&self, why: impl Into<String>) -> Fault {
        Fault::new(self.at, why)
    }
}

/// A table of which all keys are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'d> {
    /// What it is, as in "a group".
    what: &'static str,
    /// Where it begins.
    pub(super) at: usize,
    table: &'d DeTable<'d>,
    keys: &'static [&'static str],
}

/// A value of any kind.
pub(super) type Value<'d> = &'d Spanned<DeValue<'d>>;

impl<'d> Section<'d> {
    /// Reads a table that has no other keys than these.
    pub(super) fn new(
        what: &'static str,
        table: &'d DeTable<'d>,
        at: usize,
        keys: &'static [&'static str],
    ) -> Result<Self, Fault> {
        let unknown = table.keys().filter(|key| !keys.contains(&&**key.get_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            Some(key) => {
                let why = format!("unknown key `{}`; known are {}", key.get_ref(), Listed(keys));
                Err(Fault::new(key.span().start, why))
            }
            None => Ok(Self { what, at, table, keys }),
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<Value<'d>> {
        debug_assert!(self.keys.contains(&key), "`{key}` is refused as unknown in {}", self.what);
        self.table.get(key)
    }

    /// Says that the key must be there.
    pub(super) fn must<T>(&self, key: &str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| Fault::new(self.at, format!("{} must have `{key}`", self.what)))
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<At<&'d str>>, Fault> {
        self.value(key).map(|value| text(key, value)).transpose()
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &str, bounds: RangeInclusive<u64>) -> Result<Option<At<u64>>, Fault> {
        self.value(key).map(|value| whole(key, value, &bounds)).transpose()
    }

    /// A whole number within bounds that may be below zero.
    pub(super) fn signed(&self, key: &str, bounds: RangeInclusive<i64>) -> Result<Option<At<i64>>, Fault> {
        let bounds = i128::from(*bounds.start())..=i128::from(*bounds.end());
        let number = self.value(key).map(|value| integer(key, value, &bounds)).transpose()?;
        // Its bounds are of that type.
        Ok(number.map(|number| At { value: i64::try_from(number.value).unwrap_or(0), at: number.at }))
    }

    /// A whole number within bounds, as a size.
    pub(super) fn size(&self, key: &str, bounds: RangeInclusive<usize>) -> Result<Option<At<usize>>, Fault> {
        let bounds = *bounds.start() as u64..=*bounds.end() as u64;
        let number = self.whole(key, bounds)?;
        // Its bounds are sizes.
        Ok(number
            .map(|number| At { value: usize::try_from(number.value).unwrap_or(usize::MAX), at: number.at }))
    }

    /// A part of one, in thousandths.
    pub(super) fn per_mille(&self, key: &str) -> Result<Option<At<u16>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let at = value.span().start;
        let share = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(whole) => whole.as_str().parse::<f64>().ok(),
            _ => None,
        };
        let share = share.ok_or_else(|| wrong_kind(key, value, "a number from 0 to 1"))?;
        within(key, &share, &(0.0..=1.0), at)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1000")]
        Ok(Some(At { value: (share * 1000.0).round() as u16, at }))
    }

    /// A time within bounds.
    pub(super) fn time(
        &self,
        key: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Result<Option<At<Duration>>, Fault> {
        self.value(key).map(|value| time(key, value, &bounds)).transpose()
    }

    /// The same, or `default` if there is no such key.
    pub(super) fn time_or(
        &self,
        key: &str,
        bounds: RangeInclusive<Duration>,
        default: Duration,
    ) -> Result<Duration, Fault> {
        Ok(self.time(key, bounds)?.map_or(default, |time| time.value))
    }

    /// Yes or no.
    pub(super) fn yes(&self, key: &str) -> Result<Option<bool>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(yes) => Ok(Some(*yes)),
            _ => Err(wrong_kind(key, value, "true or false")),
        }
    }

    /// One of several words, and what it stands for.
    pub(super) fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Fault> {
        self.text(key)?.map(|said| meant(key, said, words)).transpose()
    }

    /// The values of a list, or the one value that is there instead; none if there is no such key.
    pub(super) fn list(&self, key: &str) -> Vec<Value<'d>> {
        match self.value(key) {
            None => Vec::new(),
            Some(value) => match value.get_ref() {
                DeValue::Array(values) => values.iter().collect(),
                _ => vec![value],
            },
        }
    }

    /// A table within this one.
    pub(super) fn table(
        &self,
        key: &str,
        what: &'static str,
        keys: &'static [&'static str],
    ) -> Result<Option<Section<'d>>, Fault> {
        self.value(key).map(|value| table(key, value, what, keys)).transpose()
    }

    /// The tables of a list.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<At<&'d DeTable<'d>>>, Fault> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Array(values) = value.get_ref() else {
            return Err(wrong_kind(key, value, &format!("a list of tables, as in [[{key}]]")));
        };
        let table = |value: Value<'d>| match value.get_ref() {
            DeValue::Table(table) => Ok(At { value: table, at: value.span().start }),
            _ => Err(wrong_kind(key, value, &format!("a list of tables, as in [[{key}]]"))),
        };
        values.iter().map(table).collect()
    }

    /// The keys and values of a table whose keys are names of the scenario's own.
    pub(super) fn named(&self, key: &str) -> Result<Vec<(At<&'d str>, Value<'d>)>, Fault> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Table(table) = value.get_ref() else { return Err(wrong_kind(key, value, "a table")) };
        let mut named: Vec<_> = table
            .iter()
            .map(|(name, value)| (At { value: &**name.get_ref(), at: name.span().start }, value))
            .collect();
        named.sort_by_key(|(name, _)| name.at);
        Ok(named)
    }
}

/// A word that says what a table is about, what it stands for, and the keys that the table may have then.
pub(super) type Kind<T> = (&'static str, T, &'static [&'static str]);

/// Reads a table whose key `what` says which keys it has.
pub(super) fn of_kind<'d, T: Copy>(
    what: &'static str,
    table: At<&'d DeTable<'d>>,
    kinds: &[Kind<T>],
) -> Result<(T, Section<'d>), Fault> {
    let Some(value) = table.value.get("what") else {
        return Err(table.fault(format!("{what} must have `what`")));
    };
    let said = text("what", value)?;
    let Some((_, kind, keys)) = kinds.iter().find(|(word, ..)| *word == said.value) else {
        let words: Vec<&str> = kinds.iter().map(|(word, ..)| *word).collect();
        return Err(said.fault(format!("`what` is {:?}; it must be one of {}", said.value, Listed(&words))));
    };
    Ok((*kind, Section::new(what, table.value, table.at, keys)?))
}

/// Reads a value as a table that has no other keys than these.
pub(super) fn table<'d>(
    key: &str,
    value: Value<'d>,
    what: &'static str,
    keys: &'static [&'static str],
) -> Result<Section<'d>, Fault> {
    match value.get_ref() {
        DeValue::Table(table) => Section::new(what, table, value.span().start, keys),
        _ => Err(wrong_kind(key, value, "a table")),
    }
}

pub(super) fn text<'d>(key: &str, value: Value<'d>) -> Result<At<&'d str>, Fault> {
    let text = value.get_ref().as_str().ok_or_else(|| wrong_kind(key, value, "a text"))?;
    Ok(At { value: text, at: value.span().start })
}

/// What a word stands for, which must be one of several.
pub(super) fn meant<T: Copy>(key: &str, said: At<&str>, words: &[(&str, T)]) -> Result<T, Fault> {
    let known = words.iter().find(|(word, _)| *word == said.value);
    known.map(|(_, meant)| *meant).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        said.fault(format!("`{key}` is {:?}; it must be one of {}", said.value, Listed(&words)))
    })
}

pub(super) fn whole(key: &str, value: Value<'_>, bounds: &RangeInclusive<u64>) -> Result<At<u64>, Fault> {
    let bounds = i128::from(*bounds.start())..=i128::from(*bounds.end());
    let number = integer(key, value, &bounds)?;
    Ok(At { value: u64::try_from(number.value).unwrap_or(u64::MAX), at: number.at })
}

fn integer(key: &str, value: Value<'_>, bounds: &RangeInclusive<i128>) -> Result<At<i128>, Fault> {
    let DeValue::Integer(number) = value.get_ref() else {
        return Err(wrong_kind(key, value, "a whole number"));
    };
    let at = value.span().start;
    let number = i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX);
    within(key, &number, bounds, at)?;
    Ok(At { value: number, at })
}

pub(super) fn time(
    key: &str,
    value: Value<'_>,
    bounds: &RangeInclusive<Duration>,
) -> Result<At<Duration>, Fault> {
    const FORM: &str = "a time as in \"500ms\", \"10s\", \"2m\" or \"1h\"";
    let said = value.get_ref().as_str().ok_or_else(|| wrong_kind(key, value, FORM))?;
    let at = value.span().start;
    let length =
        parse_time(said).ok_or_else(|| Fault::new(at, format!("`{key}` is {said:?}; it must be {FORM}")))?;
    if !bounds.contains(&length) {
        let (least, most) = (bounds.start(), bounds.end());
        let [length, least, most] = [&length, least, most].map(|time| Length(*time));
        return Err(Fault::new(at, format!("`{key}` is {length}; it must be {least} to {most}")));
    }
    Ok(At { value: length, at })
}

/// A time as a scenario writes it.
pub(super) struct Length(pub(super) Duration);

impl Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("0s"),
            ms if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            ms if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

/// A whole number and its unit.
fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let ms_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(ms_each).map(Duration::from_millis)
}

fn within<T: PartialOrd + Display>(
    key: &str,
    number: &T,
    bounds: &RangeInclusive<T>,
    at: usize,
) -> Result<(), Fault> {
    if bounds.contains(number) {
        return Ok(());
    }
    let (least, most) = (bounds.start(), bounds.end());
    Err(Fault::new(at, format!("`{key}` is {number}; it must be {least} to {most}")))
}

pub(super) fn wrong_kind(key: &str, value: Value<'_>, wanted: &str) -> Fault {
    let found = value.get_ref().type_str();
    Fault::new(value.span().start, format!("`{key}` is of type {found}; it must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_and_a_unit() {
        let ms = |text| parse_time(text).map(|time| time.as_millis());
        let good = [ms("500ms"), ms("10s"), ms("2m"), ms("1h"), ms("0s")];
        assert_eq!(good, [Some(500), Some(10_000), Some(120_000), Some(3_600_000), Some(0)]);
        for text in ["", "10", "s", "1.5s", "-1s", " 1s", "1 s", "1d", "99999999999999999999h"] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }
}
