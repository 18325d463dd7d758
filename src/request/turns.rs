//! Whose turn it is: the channel served longest ago among those that hold little enough.
//!
//! Channels stand in a row, the one served longest ago first. Over the row lies a tree, whose nodes know the
//! least load below them, so that the first channel with a load below a bound is found by walking down. A
//! channel that was served moves to the end of the row; the place that it leaves stays vacant until the row
//! has no places left and is closed up, which happens once in as many turns as there are channels at most.

/// The load of what cannot be served: a channel where nothing waits, and a vacant place.
pub(super) const IDLE: usize = usize::MAX;

#[derive(Debug)]
pub(super) struct Turns {
    /// A complete binary tree: the root is 1, the children of `n` are `2n` and `2n + 1`, and the leaf of a
    /// place is `width + place`.
    least: Vec<usize>,
    /// How many places the row has: at least two for each channel.
    width: usize,
    /// The channel that came to each place last.
    channels: Vec<usize>,
    /// Where each channel stands.
    places: Vec<usize>,
}

impl Turns {
    /// Puts channels 0 to `channels - 1` into a row, all idle.
    pub(super) fn new(channels: usize) -> Self {
        let width = (2 * channels).next_power_of_two();
        let row: Vec<usize> = (0..channels).collect();
        Self { least: vec![IDLE; 2 * width], width, channels: row.clone(), places: row }
    }

    /// Says how much a channel holds, or [`IDLE`].
    pub(super) fn set(&mut self, channel: usize, load: usize) {
        let mut at = self.width + self.places[channel];
        self.least[at] = load;
        while at > 1 {
            at /= 2;
            self.least[at] = self.least[2 * at].min(self.least[2 * at + 1]);
        }
    }

    /// The first channel of the row with a load below `bound`.
    pub(super) fn first_below(&self, bound: usize) -> Option<usize> {
        if self.least[1] >= bound {
            return None;
        }
        let mut at = 1;
        while at < self.width {
            at *= 2;
            if self.least[at] >= bound {
                at += 1;
            }
        }
        self.channels.get(at - self.width).copied()
    }

    /// Moves a channel to the end of the row.
    pub(super) fn pass(&mut self, channel: usize) {
        if self.channels.len() == self.width {
            self.close_up();
        }
        let load = self.load(channel);
        self.set(channel, IDLE);
        self.places[channel] = self.channels.len();
        self.channels.push(channel);
        self.set(channel, load);
    }

    pub(super) fn load(&self, channel: usize) -> usize {
        self.least[self.width + self.places[channel]]
    }

    fn close_up(&mut self) {
        let mut row: Vec<usize> = (0..self.places.len()).collect();
        row.sort_unstable_by_key(|&channel| self.places[channel]);
        let loads: Vec<usize> = row.iter().map(|&channel| self.load(channel)).collect();
        self.least.fill(IDLE);
        for (place, (&channel, load)) in row.iter().zip(loads).enumerate() {
            self.places[channel] = place;
            self.set(channel, load);
        }
        self.channels = row;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_channels_has_no_turn() {
        assert_eq!(Turns::new(0).first_below(IDLE), None);
    }

    #[test]
    fn the_first_of_the_row_below_the_bound_has_the_turn() {
        for channels in 1..20 {
            let mut turns = Turns::new(channels);
            let mut row: Vec<usize> = (0..channels).collect();
            let mut loads = vec![IDLE; channels];
            // A walk that visits the channels in an order of its own, for many times the row's length.
            for step in 0..40 * channels {
                let (channel, load) = (step * 7 % channels, [IDLE, 0, 3, 1, 2][step * step % 5]);
                turns.set(channel, load);
                loads[channel] = load;
                for bound in 0..5 {
                    let expected = row.iter().copied().find(|&channel| loads[channel] < bound);
                    assert_eq!(turns.first_below(bound), expected, "{channels} channels, step {step}");
                }
                let passed = step * 5 % channels;
                turns.pass(passed);
                row.retain(|&channel| channel != passed);
                row.push(passed);
            }
            assert!(turns.channels.len() <= turns.width, "the row is bounded");
        }
    }
}
