//! Requests that have a place, and their texts that wait: a state without threads or
//! clock. Times count from the start of the engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use polyhead_model::{MultiTaskModel, TextAnswer};
use tokio::sync::oneshot;

use super::batcher::{Candidate, Policy, Turns, gap_batch, next_batch};
use super::error::AskError;
use super::prepare::Request;
use super::request::Lane;

/// A model and its number: each load gives the next one.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) model: Arc<MultiTaskModel>,
    pub(crate) number: u64,
}

/// What a request gets in the end.
pub(crate) type Reply = Result<Answered, AskError>;

/// A request with all its answers.
pub(crate) struct Answered {
    pub(crate) texts: Vec<TextAnswer>,
    pub(crate) model: Arc<MultiTaskModel>,
    /// From admission to the end, without `inference`.
    pub(crate) queue: Duration,
    /// Of all batches that it was in.
    pub(crate) inference: Duration,
}

/// A reply on its way to who asked.
#[must_use]
pub(crate) struct Delivery {
    to: oneshot::Sender<Reply>,
    reply: Reply,
}

impl Delivery {
    pub(crate) fn send(self) {
        // Who does not listen any more has dropped the request this moment.
        let _ = self.to.send(self.reply);
    }
}

pub(crate) struct Queue {
    /// Tokens that the lanes hold.
    limits: PerLane,
    pub(crate) policy: Policy,
    held: PerLane,
    /// Lanes that have refused something, and not had room for a batch since.
    overfull: PerLane<bool>,
    open: HashMap<u64, Open>,
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    turns: Turns,
    next_request: u64,
    speed: Speed,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct PerLane<T = usize> {
    pub(crate) interactive: T,
    pub(crate) bulk: T,
}

impl<T> PerLane<T> {
    fn of(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl PerLane {
    fn total(&self) -> usize {
        self.interactive + self.bulk
    }
}

/// A request that is not answered yet.
struct Open {
    request: Arc<Request>,
    served: Served,
    lane: Lane,
    answers: Vec<Option<TextAnswer>>,
    left: usize,
    /// Of the texts that are left.
    tokens: usize,
    admitted: Duration,
    inference: Duration,
    /// The last batch that a text of it was in.
    batch: u64,
    reply: oneshot::Sender<Reply>,
}

struct Waiting {
    request: u64,
    index: usize,
    candidate: Candidate,
}

/// Texts that the model gets together.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) served: Served,
    pub(crate) texts: Vec<BatchText>,
    pub(crate) tokens: usize,
}

/// A text of a batch.
#[derive(Clone)]
pub(crate) struct BatchText {
    pub(crate) id: TextId,
    pub(crate) request: Arc<Request>,
}

/// Which text of which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextId {
    pub(crate) request: u64,
    pub(crate) index: usize,
}

impl Queue {
    pub(crate) fn new(limits: PerLane, policy: Policy) -> Self {
        Self {
            limits,
            policy,
            held: PerLane::default(),
            overfull: PerLane::default(),
            open: HashMap::new(),
            waiting: Vec::new(),
            turns: Turns::default(),
            next_request: 0,
            speed: Speed::default(),
        }
    }

    /// The lane in which a request of so many tokens would wait, if there is place.
    pub(crate) fn place(&mut self, lane: Lane, tokens: usize) -> Result<Lane, AskError> {
        let lane = match tokens > self.limits.interactive {
            true => Lane::Bulk,
            false => lane,
        };
        let (held, limit) = (*self.held.of(lane), *self.limits.of(lane));
        if tokens > limit {
            return Err(AskError::TooLarge { tokens, limit });
        }
        match (held + tokens).checked_sub(limit) {
            None | Some(0) => Ok(lane),
            Some(excess) => {
                *self.overfull.of(lane) = true;
                Err(self.full(lane, excess))
            }
        }
    }

    /// Refuses before anybody has counted tokens: a lane that is full stays so until a batch
    /// has room, or an eighth of it is free. Under overload, counting tokens of what is refused
    /// anyway would cost what the rest needs.
    pub(crate) fn refuse_early(&mut self, lane: Lane) -> Result<(), AskError> {
        let limit = *self.limits.of(lane);
        let room = self.policy.batch_tokens.min(limit / 8);
        let excess = self.held.of(lane).saturating_sub(limit - room);
        *self.overfull.of(lane) &= excess > 0;
        match *self.overfull.of(lane) {
            true => Err(self.full(lane, excess)),
            false => Ok(()),
        }
    }

    /// - `excess`: tokens that have to be answered before there is place
    pub(crate) fn full(&mut self, lane: Lane, excess: usize) -> AskError {
        let (queued_tokens, limit) = (*self.held.of(lane), *self.limits.of(lane));
        AskError::Full { queued_tokens, limit, retry_after: self.speed.time_for(excess) }
    }

    /// Gives a request its place, all of it or nothing.
    pub(crate) fn admit(
        &mut self,
        request: Request,
        served: Served,
        lane: Lane,
        now: Duration,
    ) -> Result<(u64, oneshot::Receiver<Reply>), AskError> {
        let count = request.texts.len();
        let tokens = (0..count).map(|index| request.tokens(index)).sum();
        let lane = self.place(lane, tokens)?;
        *self.held.of(lane) += tokens;
        let id = self.next_request;
        self.next_request += 1;
        self.waiting.extend((0..count).map(|index| {
            let (tokens, model) = (request.tokens(index), served.number);
            Waiting {
                request: id,
                index,
                candidate: Candidate { tokens, lane, arrived: now, model },
            }
        }));
        let (reply, receiver) = oneshot::channel();
        self.open.insert(
            id,
            Open {
                request: Arc::new(request),
                served,
                lane,
                answers: (0..count).map(|_| None).collect(),
                left: count,
                tokens,
                admitted: now,
                inference: Duration::ZERO,
                batch: 0,
                reply,
            },
        );
        Ok((id, receiver))
    }

    /// The next batch, if anything waits; they are counted from 1.
    pub(crate) fn take(&mut self, number: u64) -> Option<Batch> {
        let candidates = self.candidates();
        let (places, turns) = next_batch(&candidates, self.turns, &self.policy);
        self.turns = turns;
        self.remove(number, &candidates, &places)
    }

    /// What goes into a gap of another batch.
    pub(crate) fn take_for_gap(&mut self, number: u64, outer: &Batch) -> Option<Batch> {
        let candidates = self.candidates();
        let lengths = outer.texts.iter().map(|text| text.request.tokens(text.id.index));
        let longest = lengths.max().unwrap_or(0);
        let places = gap_batch(&candidates, outer.served.number, longest, &self.policy);
        self.remove(number, &candidates, &places)
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.waiting.iter().map(|text| text.candidate).collect()
    }

    /// - `places`: in `waiting`
    fn remove(&mut self, number: u64, candidates: &[Candidate], places: &[usize]) -> Option<Batch> {
        let mut is_taken = vec![false; candidates.len()];
        places.iter().for_each(|place| is_taken[*place] = true);
        let mut served = None;
        let mut texts = Vec::with_capacity(places.len());
        for place in places {
            let Waiting { request, index, .. } = self.waiting[*place];
            let open = self.open.get(&request).expect("what waits belongs to an open request");
            served.get_or_insert_with(|| open.served.clone());
            let id = TextId { request, index };
            texts.push(BatchText { id, request: Arc::clone(&open.request) });
        }
        let served = served?;
        let mut is_taken = is_taken.into_iter();
        self.waiting.retain(|_| is_taken.next() != Some(true));
        let tokens = places.iter().map(|place| candidates[*place].tokens).sum();
        Some(Batch { number, served, texts, tokens })
    }

    /// Takes the answer to a text; the last one of a request gives its reply. Nothing happens if
    /// the request is gone. A text without an answer ends its request.
    ///
    /// - `batch`: the number of its batch, and how long it took
    pub(crate) fn finish(
        &mut self,
        id: TextId,
        answer: Result<TextAnswer, AskError>,
        batch: (u64, Duration),
        now: Duration,
    ) -> Option<Delivery> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let open = self.close(id.request)?;
                return Some(Delivery { to: open.reply, reply: Err(error) });
            }
        };
        let open = self.open.get_mut(&id.request)?;
        if open.batch != batch.0 {
            open.batch = batch.0;
            open.inference += batch.1;
        }
        let tokens = open.request.tokens(id.index);
        open.answers[id.index] = Some(answer);
        open.left -= 1;
        open.tokens -= tokens;
        *self.held.of(open.lane) -= tokens;
        if open.left > 0 {
            return None;
        }
        let open = self.open.remove(&id.request)?;
        let since = now.saturating_sub(open.admitted);
        let answered = Answered {
            texts: open.answers.into_iter().flatten().collect(),
            model: open.served.model,
            queue: since.saturating_sub(open.inference),
            inference: open.inference,
        };
        Some(Delivery { to: open.reply, reply: Ok(answered) })
    }

    /// Ends a request without answers, if it is still there; returns how many texts had
    /// none.
    pub(crate) fn fail(&mut self, request: u64, error: AskError) -> usize {
        let Some(open) = self.close(request) else { return 0 };
        Delivery { to: open.reply, reply: Err(error) }.send();
        open.left
    }

    /// Gives back the place of a request whose asker is gone; whether it was still there.
    pub(crate) fn cancel(&mut self, request: u64) -> bool {
        self.close(request).is_some()
    }

    fn close(&mut self, request: u64) -> Option<Open> {
        let open = self.open.remove(&request)?;
        *self.held.of(open.lane) -= open.tokens;
        self.waiting.retain(|text| text.request != request);
        Some(open)
    }

    /// Ends all requests; returns how many of their texts had no answer.
    pub(crate) fn fail_all(&mut self, error: &AskError) -> usize {
        let requests: Vec<u64> = self.open.keys().copied().collect();
        requests.into_iter().map(|request| self.fail(request, error.clone())).sum()
    }

    /// Requests that wait for a model that is given up are answered by another one. If
    /// that is not alike, they are lost.
    pub(crate) fn move_to(&mut self, from: u64, served: &Served) {
        let mut lost = Vec::new();
        for (id, open) in self.open.iter_mut().filter(|(_, open)| open.served.number == from) {
            match open.served.model.is_compatible_with(&served.model) {
                true => open.served = served.clone(),
                false => lost.push(*id),
            }
        }
        for id in lost {
            let index = self.waiting.iter().find(|text| text.request == id).map_or(0, |t| t.index);
            self.fail(id, AskError::Lost { index });
        }
        for text in self.waiting.iter_mut().filter(|text| text.candidate.model == from) {
            text.candidate.model = served.number;
        }
    }

    /// Notes how long a batch took, for guesses.
    pub(crate) fn learn_speed(&mut self, tokens: usize, took: Duration) {
        self.speed.learn(tokens, took);
    }

    pub(crate) fn requests(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn tokens(&self) -> usize {
        self.held.total()
    }

    pub(crate) fn texts(&self) -> usize {
        self.open.values().map(|open| open.left).sum()
    }
}

/// Tokens per second of the last batches.
#[derive(Default)]
struct Speed {
    tokens: f64,
    seconds: f64,
}

impl Speed {
    fn learn(&mut self, tokens: usize, took: Duration) {
        const KEPT: f64 = 0.9;
        self.tokens = KEPT * self.tokens + tokens as f64;
        self.seconds = KEPT * self.seconds + took.as_secs_f64();
    }

    fn time_for(&self, tokens: usize) -> Duration {
        let seconds = tokens as f64 * self.seconds / self.tokens.max(1.0);
        Duration::from_secs_f64(seconds.clamp(0.001, 3600.0))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use polyhead_model::LoadOptions;
    use polyhead_text::TextTokens;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::prepare::prepare;
    use crate::engine::request::Ask;

    /// Something that happens to a queue.
    #[derive(Clone, Debug)]
    enum Step {
        Admit {
            texts: usize,
            lane: Lane,
        },
        Cancel {
            which: usize,
        },
        /// A batch is taken and answered, but for every n-th text.
        Batch {
            failing: Option<usize>,
        },
        FailAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        let lane = prop_oneof![Just(Lane::Interactive), Just(Lane::Bulk)];
        prop_oneof![
            5 => (1usize..6, lane).prop_map(|(texts, lane)| Step::Admit { texts, lane }),
            2 => (0usize..20).prop_map(|which| Step::Cancel { which }),
            4 => proptest::option::of(1usize..4).prop_map(|failing| Step::Batch { failing }),
            1 => Just(Step::FailAll),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever happens in whatever order: no place is lost, and everybody who waits
        /// hears once.
        #[test]
        fn places_and_replies_add_up(steps in prop::collection::vec(step(), 1..40)) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/tiny-bert");
            let folder = polyhead_model::ModelFolder::open(&path).unwrap();
            let model =
                MultiTaskModel::from_folder(folder, &LoadOptions::default().threads(1)).unwrap();
            let served = Served { model: Arc::new(model), number: 1 };
            let limits = PerLane { interactive: 40, bulk: 60 };
            let policy = Policy { batch_tokens: 20, patience: Duration::from_millis(4) };
            let mut queue = Queue::new(limits, policy);
            let mut listening: Vec<(u64, usize, oneshot::Receiver<Reply>)> = Vec::new();
            let mut now = Duration::ZERO;
            // At the end, everything is answered.
            let ending = std::iter::repeat_n(Step::Batch { failing: None }, 60);
            for (number, step) in (1..).zip(steps.into_iter().chain(ending)) {
                now += Duration::from_millis(7);
                match step {
                    Step::Admit { texts, lane } => {
                        let ask = Ask::texts(vec!["the train"; texts]);
                        let request = prepare(&served.model, &ask, 1000, None).unwrap();
                        let before = queue.tokens();
                        match queue.admit(request, served.clone(), lane, now) {
                            Ok((id, receiver)) => {
                                prop_assert_eq!(queue.tokens(), before + 4 * texts);
                                listening.push((id, texts, receiver));
                            }
                            Err(_) => prop_assert_eq!(queue.tokens(), before),
                        }
                    }
                    Step::Cancel { which } if which < listening.len() => {
                        let (id, _, mut receiver) = listening.swap_remove(which);
                        let replied = receiver.try_recv().is_ok();
                        prop_assert_eq!(queue.cancel(id), !replied);
                    }
                    Step::Cancel { .. } => {}
                    Step::Batch { failing } => {
                        let Some(batch) = queue.take(number) else { continue };
                        for (i, text) in batch.texts.iter().enumerate() {
                            let fails = failing.is_some_and(|n| i % n == 0);
                            let answer = match fails {
                                true => Err(AskError::Failed { index: text.id.index }),
                                false => Ok(TextAnswer {
                                    tokens: TextTokens::default(),
                                    tasks: Vec::new(),
                                    vector: None,
                                    token_vectors: None,
                                }),
                            };
                            let batch = (number, Duration::ZERO);
                            queue.finish(text.id, answer, batch, now).into_iter().for_each(Delivery::send);
                        }
                    }
                    Step::FailAll => {
                        queue.fail_all(&AskError::NotReady);
                        prop_assert_eq!(queue.tokens(), 0);
                    }
                }
                prop_assert!(queue.held.interactive <= 40 && queue.held.bulk <= 60);
                prop_assert_eq!(queue.tokens(), 4 * queue.texts());
            }
            prop_assert_eq!((queue.tokens(), queue.requests(), queue.waiting.len()), (0, 0, 0));
            for (_, texts, mut receiver) in listening {
                match receiver.try_recv() {
                    Ok(Ok(answered)) => prop_assert_eq!(answered.texts.len(), texts),
                    Ok(Err(_)) => {}
                    Err(_) => prop_assert!(false, "somebody waits for ever"),
                }
            }
        }
    }
}
