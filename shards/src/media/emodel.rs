//! The E-model (ITU-T G.107) with its default values: how good a conversation is, from codec, loss and delay.
//!
//! Computed when somebody asks or a stream ends, never for a packet.

use super::formats::Codec;

/// The rating of a call without any impairment but those of the network's default values (G.107 table 3).
const BEST: f64 = 93.2;
/// From this one-way delay on, in milliseconds, conversation suffers more.
const KNEE: f64 = 177.3;

/// What a listener gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// The codec.
    pub codec: Codec,
    /// Packets that did not come, of all that were sent: 0 to 1. Taken as random (BurstR = 1).
    pub loss: f64,
    /// From mouth to ear, in milliseconds.
    pub delay: f64,
}

impl Heard {
    /// The rating R, 0 to 100; `None` where the codec is not one of speech that is known.
    pub fn rating(&self) -> Option<f64> {
        let cost = self.codec.impairment()?;
        let lost = self.loss.clamp(0.0, 1.0) * 100.0;
        let equipment = cost.equipment + (95.0 - cost.equipment) * lost / (lost + cost.robustness);
        Some((BEST - delay_impairment(self.delay) - equipment).clamp(0.0, 100.0))
    }

    /// The mean opinion score estimated from the rating (G.107 annex B): 1 to 4.5.
    pub fn score(&self) -> Option<f64> {
        self.rating().map(opinion)
    }
}

/// Id for a delay in milliseconds, echo being cancelled: the usual two lines instead of G.107's curve.
fn delay_impairment(delay: f64) -> f64 {
    let delay = delay.max(0.0);
    0.024 * delay + 0.11 * (delay - KNEE).max(0.0)
}

/// MOS for a rating of 0 to 100. The cubic of annex B falls below 1 for ratings under 6.5, where no call is any more.
fn opinion(rating: f64) -> f64 {
    let score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    score.clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(value: Option<f64>, expected: f64) {
        let value = value.expect("a codec of speech");
        assert!((value - expected).abs() < 0.005, "{value} is not {expected}");
    }

    fn heard(codec: Codec, loss: f64, delay: f64) -> Heard {
        Heard { codec, loss, delay }
    }

    #[test]
    fn the_best_call_has_the_best_score() {
        close(heard(Codec::G711, 0.0, 0.0).rating(), 93.2);
        close(heard(Codec::G711, 0.0, 0.0).score(), 4.409);
    }

    /// G.729A without loss is rated 82.2.
    #[test]
    fn a_codec_costs_its_equipment_factor() {
        close(heard(Codec::G729, 0.0, 0.0).rating(), 82.2);
        close(heard(Codec::G729, 0.0, 0.0).score(), 4.104);
    }

    #[test]
    fn loss_costs_by_robustness() {
        close(heard(Codec::G711, 0.02, 0.0).rating(), 93.2 - 95.0 * 2.0 / 27.1);
        close(heard(Codec::G729, 0.02, 0.0).rating(), 93.2 - 11.0 - 84.0 * 2.0 / 21.0);
    }

    #[test]
    fn delay_costs_more_behind_the_knee() {
        close(heard(Codec::G711, 0.0, 150.0).rating(), 93.2 - 3.6);
        close(heard(Codec::G711, 0.0, 277.3).rating(), 93.2 - 6.655 - 11.0);
    }

    #[test]
    fn scores_stay_in_their_range_and_fall_with_loss() {
        let mut before = 5.0;
        for percent in 0..=100 {
            let score = heard(Codec::G723, f64::from(percent) / 100.0, 400.0).score().unwrap();
            assert!((1.0..=4.5).contains(&score) && score <= before, "{percent}: {score}");
            before = score;
        }
        assert_eq!(heard(Codec::Event, 0.0, 0.0).score(), None);
    }
}
