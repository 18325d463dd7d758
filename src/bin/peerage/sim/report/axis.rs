//! Where the ticks of an axis are.

use std::time::Duration;

use super::markup::short;

/// The most ticks of an axis of values, but for its ends.
const VALUES: f64 = 5.0;
/// The most ticks of an axis of time.
const TIMES: f64 = 8.0;

/// An axis of values, from `bottom`, which is at most zero, to `top`, which is at least zero; they are not the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Values {
    pub(super) bottom: f64,
    pub(super) top: f64,
    scale: Scale,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// A tick at each multiple of this.
    Even(f64),
    /// A tick at each power of ten.
    Logarithmic,
}

impl Values {
    /// An axis that has room for all from `least` to `most`. If it counts things, its ticks are whole numbers.
    pub(super) fn of(least: f64, most: f64, whole: bool) -> Self {
        let most = if most > 0.0 || least < 0.0 { most.max(0.0) } else { 1.0 };
        let step = round_step((most - least.min(0.0)) / VALUES);
        let step = if whole { step.max(1.0) } else { step };
        let top = (most / step).ceil() * step;
        let bottom = (least.min(0.0) / step).floor() * step;
        Self { bottom, top, scale: Scale::Even(step) }
    }

    /// An axis of powers of ten, from one that is at most `least`, which is more than zero, to one above `most`.
    pub(super) fn logarithmic(least: f64, most: f64) -> Self {
        let power = |exponent: f64| 10_f64.powf(exponent);
        let bottom = least.log10().floor();
        let top = most.log10().ceil().max(bottom + 1.0);
        Self { bottom: power(bottom), top: power(top), scale: Scale::Logarithmic }
    }

    /// How far up the axis a value is: 0 at its bottom, 1 at its top.
    pub(super) fn part(self, value: f64) -> f64 {
        match self.scale {
            Scale::Even(_) => (value - self.bottom) / (self.top - self.bottom),
            Scale::Logarithmic => {
                (value.max(self.bottom) / self.bottom).log10() / (self.top / self.bottom).log10()
            }
        }
    }

    /// The ticks, and what they are called. What lies below zero is called as what lies above.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self.scale {
            Scale::Even(step) => steps(self.bottom, self.top, step).collect(),
            Scale::Logarithmic => std::iter::successors(Some(self.bottom), |value| Some(value * 10.0))
                .take_while(|value| *value <= self.top * 1.01)
                .collect(),
        };
        values.into_iter().map(|value| (value, short(value.abs()))).collect()
    }
}

/// An axis of time, from zero to `end` seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    pub(super) end: f64,
    /// How many seconds its unit has, and what that is called.
    unit: (f64, &'static str),
    step: f64,
}

impl Times {
    pub(super) fn of(length: Duration) -> Self {
        let end = if length.is_zero() { 1.0 } else { length.as_secs_f64() };
        let unit = match end {
            end if end <= 180.0 => (1.0, "s"),
            end if end <= 3.0 * 3600.0 => (60.0, "min"),
            _ => (3600.0, "h"),
        };
        // Hours and minutes are counted in dozens, and so are seconds.
        let round = [15.0, 30.0, 60.0, 120.0].into_iter().find(|step| end / step <= TIMES && end > 60.0);
        let step = round.unwrap_or_else(|| unit.0 * round_step(end / unit.0 / TIMES));
        Self { end, unit, step }
    }

    pub(super) fn unit(self) -> &'static str {
        self.unit.1
    }

    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        steps(0.0, self.end, self.step).map(|seconds| (seconds, short(seconds / self.unit.0))).collect()
    }
}

/// The first of 1, 2, 5, 10, 20, 50 and so on, in either direction, that is no less than `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let rounded = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= least * 0.999_999);
    rounded.unwrap_or(10.0) * power
}

fn steps(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (from / step).round();
    // Both are few: an axis has a handful of ticks.
    (0..64_u32)
        .map(move |number| (first + f64::from(number)) * step)
        .take_while(move |at| *at <= to + step / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ticks: Vec<(f64, String)>) -> String {
        ticks.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_have_round_ticks_and_room_for_all() {
        for (least, most, whole, ticks) in [
            (0.0, 0.0, true, "0 1"),
            (0.0, 1.0, true, "0 1"),
            (0.0, 8.0, true, "0 2 4 6 8"),
            (0.0, 25_300.0, true, "0 10k 20k 30k"),
            (0.0, 0.07, false, "0 0.02 0.04 0.06 0.08"),
            (-30.0, 40.0, true, "40 20 0 20 40"),
            (-3.0, 0.0, true, "3 2 1 0"),
        ] {
            let axis = Values::of(least, most, whole);
            assert_eq!(names(axis.ticks()), ticks, "{least} to {most}");
            assert!(axis.bottom <= least && axis.top >= most, "{axis:?}");
        }
    }

    #[test]
    fn values_far_apart_are_on_powers_of_ten() {
        let axis = Values::logarithmic(40.0, 8000.0);
        assert_eq!(names(axis.ticks()), "10 100 1000 10k");
        let parts = [0.0, 10.0, 100.0, 10_000.0].map(|value| (axis.part(value) * 3.0).round());
        assert_eq!(parts, [0.0, 0.0, 1.0, 3.0]);
        let axis = Values::logarithmic(0.5, 0.5);
        assert_eq!(names(axis.ticks()), "0.1 1");
    }

    #[test]
    fn times_have_the_unit_of_their_length() {
        for (seconds, unit, ticks) in [
            (0.0, "s", "0 0.2 0.4 0.6 0.8 1"),
            (4.2, "s", "0 1 2 3 4"),
            (90.0, "s", "0 15 30 45 60 75 90"),
            (600.0, "min", "0 2 4 6 8 10"),
            (1800.0, "min", "0 5 10 15 20 25 30"),
            (36_000.0, "h", "0 2 4 6 8 10"),
        ] {
            let axis = Times::of(Duration::from_secs_f64(seconds));
            assert_eq!((axis.unit(), names(axis.ticks())), (unit, ticks.to_owned()), "{seconds} s");
        }
    }
}
