//! Chooses the texts of the next batch: a function of the waiting texts, without a clock.
//!
//! - **Order.** Texts are taken by deadline: arrival time plus a patience per token. A short text
//!   overtakes long ones, but only those that arrived at most their patience before it, so a long
//!   text becomes the first in time. The first text is always taken.
//! - **Length.** A batch has texts about as long as its first, then shorter ones while there is
//!   space. A much longer text would delay the others; batches are packed, so a small batch wastes
//!   nothing.
//! - **Lanes.** While texts of both lanes wait, bulk gets a quarter of the tokens. Interactive
//!   batches have no bulk texts, so that they end soon; bulk batches may include interactive
//!   texts.
//! - **Layer breaks.** Between two layers of a pass over a long text, a few short interactive
//!   texts are answered that would otherwise wait until its end ([`layer_break_batch`]).

use std::cmp::Reverse;
use std::time::Duration;

use super::request::Lane;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Number of tokens, at least 1.
    pub(crate) tokens: usize,
    pub(crate) lane: Lane,
    /// Time of arrival since the start of the engine.
    pub(crate) arrived: Duration,
    /// Number of the model that answers it; all texts of a batch have the same model.
    pub(crate) model: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Largest number of tokens of a batch; a longer text has a batch of its own.
    pub(crate) batch_tokens: usize,
    /// Patience: the deadline of a text moves by this time for each of its tokens.
    pub(crate) patience: Duration,
}

/// While both lanes wait, one of this many tokens belongs to the bulk lane.
const BULK_SHARE: i64 = 4;

/// The texts of a layer break have at most the tokens of the long text divided by this.
const BREAK_SHARE: usize = 4;

/// Smallest number of tokens of a text with layer breaks. A batch of short texts ends soon, and
/// breaks would only split the waiting texts into small, slow batches.
const LONG: usize = 64;

/// Texts of at most this many tokens count as equally long.
const SHORT: usize = 32;

/// Number of tokens by which the bulk lane is below its share, over all batches so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneBalance {
    /// The difference times [`BULK_SHARE`]; negative if the bulk lane has had more than its share.
    owed_to_bulk: i64,
}

/// Indices in `waiting` of the texts of the next batch, and the balance after it. The batch is
/// empty only if `waiting` is; among texts with equal deadlines, the first in `waiting` comes
/// first.
pub(crate) fn next_batch(
    waiting: &[Candidate],
    balance: LaneBalance,
    policy: &Policy,
) -> (Vec<usize>, LaneBalance) {
    let waits = |lane| waiting.iter().any(|text| text.lane == lane);
    let both = waits(Lane::Interactive) && waits(Lane::Bulk);
    let lane = if !both {
        waiting.first().map_or(Lane::Interactive, |text| text.lane)
    } else if balance.owed_to_bulk > 0 {
        Lane::Bulk
    } else {
        Lane::Interactive
    };
    let deadline = |text: &Candidate| {
        let tokens = u32::try_from(text.tokens).unwrap_or(u32::MAX);
        text.arrived.saturating_add(policy.patience.saturating_mul(tokens))
    };
    let first = (0..waiting.len())
        .filter(|i| waiting[*i].lane == lane)
        .min_by_key(|i| (deadline(&waiting[*i]), *i));
    let Some(first) = first else { return (Vec::new(), LaneBalance::default()) };
    let first_text = waiting[first];
    let longest = SHORT.max(2 * first_text.tokens);
    let shortest_alike = if longest == SHORT { 0 } else { first_text.tokens / 2 };
    let may_join = |text: &Candidate| {
        text.model == first_text.model
            && text.tokens <= longest
            && (text.lane == lane || lane == Lane::Bulk)
    };
    let mut others: Vec<usize> =
        (0..waiting.len()).filter(|i| *i != first && may_join(&waiting[*i])).collect();
    let order = |i: &usize| {
        let text = &waiting[*i];
        let alike = text.lane == lane && text.tokens >= shortest_alike;
        (Reverse(alike), deadline(text), *i)
    };
    // More texts cannot fit, because each has a token. Of thousands of texts, only these are
    // sorted.
    let most = policy.batch_tokens;
    if others.len() > most {
        others.select_nth_unstable_by_key(most, order);
        others.truncate(most);
    }
    others.sort_unstable_by_key(order);
    let mut batch = vec![first];
    let mut space = policy.batch_tokens.saturating_sub(first_text.tokens);
    for i in others {
        if let Some(rest) = space.checked_sub(waiting[i].tokens) {
            space = rest;
            batch.push(i);
        }
    }
    let balance = if both {
        balance.after(batch.iter().map(|i| &waiting[*i]))
    } else {
        // A lane without waiting texts builds up no claim.
        LaneBalance::default()
    };
    (batch, balance)
}

/// Indices in `waiting` of the texts to answer between two layers of another batch: short
/// interactive texts of the same model. Together they have at most a quarter of its longest text's
/// tokens, so that it progresses.
///
/// - `model`: model of the running batch
/// - `longest`: tokens of the longest text of that batch
pub(crate) fn layer_break_batch(
    waiting: &[Candidate],
    model: u64,
    longest: usize,
    policy: &Policy,
) -> Vec<usize> {
    if longest < LONG {
        return Vec::new();
    }
    let most = longest / BREAK_SHARE;
    let fits = |text: &Candidate| {
        text.lane == Lane::Interactive && text.model == model && text.tokens <= most
    };
    let fitting: Vec<usize> = (0..waiting.len()).filter(|i| fits(&waiting[*i])).collect();
    let short: Vec<Candidate> = fitting.iter().map(|i| waiting[*i]).collect();
    let policy = Policy { batch_tokens: most, ..*policy };
    next_batch(&short, LaneBalance::default(), &policy).0.into_iter().map(|i| fitting[i]).collect()
}

impl LaneBalance {
    fn after<'c>(mut self, batch: impl Iterator<Item = &'c Candidate>) -> Self {
        for text in batch {
            let tokens = i64::try_from(text.tokens).unwrap_or(i64::MAX / (2 * BULK_SHARE));
            self.owed_to_bulk = self.owed_to_bulk.saturating_add(match text.lane {
                Lane::Interactive => tokens,
                Lane::Bulk => tokens - BULK_SHARE * tokens,
            });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy { batch_tokens: 100, patience: Duration::from_millis(4) };

    fn text(tokens: usize, arrived_ms: u64) -> Candidate {
        let arrived = Duration::from_millis(arrived_ms);
        Candidate { tokens, lane: Lane::Interactive, arrived, model: 0 }
    }

    fn bulk(tokens: usize, arrived_ms: u64) -> Candidate {
        Candidate { lane: Lane::Bulk, ..text(tokens, arrived_ms) }
    }

    #[test]
    fn cases() {
        struct Case {
            name: &'static str,
            waiting: Vec<Candidate>,
            expected: Vec<usize>,
        }
        let other_model = Candidate { model: 1, ..text(20, 0) };
        let cases = [
            Case { name: "nothing", waiting: vec![], expected: vec![] },
            Case { name: "over budget, alone", waiting: vec![text(500, 0)], expected: vec![0] },
            Case {
                name: "in order, while there is space",
                waiting: vec![text(40, 0), text(40, 1), text(40, 2), text(20, 85)],
                expected: vec![0, 1, 3],
            },
            Case {
                name: "a short one does not wait for a long one",
                waiting: vec![text(90, 0), text(5, 1)],
                expected: vec![1],
            },
            Case {
                name: "a long one grows old, and takes short ones with it",
                waiting: vec![text(5, 1000), text(90, 0)],
                expected: vec![1, 0],
            },
            Case {
                name: "those alike come first",
                waiting: vec![text(60, 0), text(10, 250), text(40, 900)],
                expected: vec![0, 2],
            },
            Case {
                name: "interactive batches hold no bulk",
                waiting: vec![bulk(5, 0), text(5, 1)],
                expected: vec![1],
            },
            Case {
                name: "one model a batch",
                waiting: vec![text(20, 0), other_model, text(20, 1)],
                expected: vec![0, 2],
            },
        ];
        for case in cases {
            let (found, _) = next_batch(&case.waiting, LaneBalance::default(), &POLICY);
            assert_eq!(found, case.expected, "{}", case.name);
        }
    }

    #[test]
    fn layer_breaks_are_for_a_few_short_texts() {
        let other_model = Candidate { model: 1, ..text(5, 0) };
        let waiting = [bulk(5, 0), text(51, 0), other_model, text(20, 3), text(20, 2), text(20, 1)];
        assert_eq!(layer_break_batch(&waiting, 0, 200, &POLICY), [5, 4]);
        assert!(layer_break_batch(&waiting, 0, LONG - 1, &POLICY).is_empty());
    }

    #[test]
    fn bulk_gets_its_quarter_and_no_more() {
        let mut waiting: Vec<Candidate> = (0..400).map(|i| text(20, i)).collect();
        waiting.extend((0..400).map(|i| bulk(20, i)));
        let (mut balance, mut interactive, mut in_bulk) = (LaneBalance::default(), 0, 0);
        for _ in 0..80 {
            let (batch, after) = next_batch(&waiting, balance, &POLICY);
            balance = after;
            let of_bulk = batch.iter().filter(|i| waiting[**i].lane == Lane::Bulk).count();
            in_bulk += of_bulk;
            interactive += batch.len() - of_bulk;
            let mut index = 0..;
            waiting.retain(|_| !batch.contains(&index.next().expect("endless")));
        }
        assert_eq!((interactive, in_bulk), (300, 100));
    }

    /// With arrivals at the limit of the machine, every text is taken, even the long ones.
    #[test]
    fn long_texts_do_not_starve_under_endless_short_ones() {
        let mut waiting = vec![text(90, 0)];
        let mut batches = 0;
        for now in (0..).step_by(10) {
            waiting.extend((0..5).map(|_| text(20, now)));
            let (batch, _) = next_batch(&waiting, LaneBalance::default(), &POLICY);
            batches += 1;
            if batch.contains(&0) {
                break;
            }
            let mut index = 0..;
            waiting.retain(|_| !batch.contains(&index.next().expect("endless")));
        }
        // Its patience is 360 ms; a batch takes 10 ms.
        assert!(batches <= 40, "{batches} batches");
    }

    prop_compose! {
        fn candidate()(
            tokens in 1usize..300, ms in 0u64..5000, bulk in any::<bool>(), model in 0u64..2,
        ) -> Candidate {
            let lane = if bulk { Lane::Bulk } else { Lane::Interactive };
            Candidate { lane, model, ..text(tokens, ms) }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_over_budget(
            all in prop::collection::vec(candidate(), 0..60),
        ) {
            let mut waiting: Vec<(usize, Candidate)> = all.iter().copied().enumerate().collect();
            let mut taken = Vec::new();
            let mut balance = LaneBalance::default();
            // Without arrivals, each batch takes at least one text.
            for _ in 0..all.len() {
                let candidates: Vec<Candidate> = waiting.iter().map(|(_, text)| *text).collect();
                let (batch, after) = next_batch(&candidates, balance, &POLICY);
                balance = after;
                prop_assert_eq!(batch.is_empty(), waiting.is_empty());
                let tokens: usize = batch.iter().map(|i| candidates[*i].tokens).sum();
                prop_assert!(tokens <= POLICY.batch_tokens || batch.len() == 1);
                prop_assert!(batch.iter().all(|i| candidates[*i].model == candidates[batch[0]].model));
                taken.extend(batch.iter().map(|i| waiting[*i].0));
                let mut index = 0..;
                waiting.retain(|_| !batch.contains(&index.next().expect("endless")));
            }
            taken.sort_unstable();
            prop_assert_eq!(taken, (0..all.len()).collect::<Vec<_>>());
        }

        /// In any order of arrivals, a text is overtaken only by those with an earlier deadline.
        #[test]
        fn every_text_is_taken_within_a_bounded_number_of_batches(
            first in candidate(),
            arrivals in prop::collection::vec(prop::collection::vec(candidate(), 0..6), 100),
        ) {
            let alike = |text: Candidate, ms: u64| Candidate {
                lane: Lane::Interactive, arrived: Duration::from_millis(ms), ..text
            };
            let mut waiting = vec![alike(first, 0)];
            let patience = u64::try_from(first.tokens).expect("small") * 4;
            let (mut taken, mut passing) = (None, 0);
            for (round, more) in (0u64..).zip(arrivals) {
                let now = round * 20;
                passing += if now <= patience { more.len() } else { 0 };
                waiting.extend(more.into_iter().map(|text| alike(text, now)));
                let (batch, _) = next_batch(&waiting, LaneBalance::default(), &POLICY);
                if batch.contains(&0) {
                    taken = Some(round);
                    break;
                }
                let mut index = 0..;
                waiting.retain(|_| !batch.contains(&index.next().expect("endless")));
            }
            let bound = passing as u64;
            prop_assert!(taken.map_or(bound >= 100, |round| round <= bound), "{taken:?} {bound}");
        }

        /// While both lanes wait, bulk has a quarter of the tokens, to within two batches.
        #[test]
        fn lanes_have_their_shares(all in prop::collection::vec(candidate(), 0..200)) {
            let mut waiting: Vec<Candidate> =
                all.into_iter().map(|text| Candidate { model: 0, ..text }).collect();
            let mut balance = LaneBalance::default();
            let (mut tokens, mut of_bulk) = (0i64, 0i64);
            let waits = |waiting: &[Candidate], lane| waiting.iter().any(|text| text.lane == lane);
            while waits(&waiting, Lane::Interactive) && waits(&waiting, Lane::Bulk) {
                let (batch, after) = next_batch(&waiting, balance, &POLICY);
                balance = after;
                for text in batch.iter().map(|i| &waiting[*i]) {
                    let count = i64::try_from(text.tokens).expect("small");
                    tokens += count;
                    of_bulk += if text.lane == Lane::Bulk { count } else { 0 };
                }
                prop_assert!((of_bulk - tokens / 4).abs() <= 300, "{of_bulk} of {tokens}");
                let mut index = 0..;
                waiting.retain(|_| !batch.contains(&index.next().expect("endless")));
            }
        }
    }
}
