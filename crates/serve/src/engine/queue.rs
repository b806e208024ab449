//! Admitted requests and their waiting texts: a state without threads or clock. Times count from
//! the start of the engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use polyhead_model::{MultiTaskModel, TextAnswer};
use tokio::sync::oneshot;

use super::batcher::{Candidate, LaneBalance, Policy, layer_break_batch, next_batch};
use super::error::RequestError;
use super::prepare::PreparedRequest;
use super::request::{EngineReply, Lane, Timing};

/// A model and its number, which increases with each load.
#[derive(Clone)]
pub(crate) struct ServedModel {
    pub(crate) model: Arc<MultiTaskModel>,
    pub(crate) number: u64,
}

pub(crate) type Reply = Result<EngineReply, RequestError>;

#[must_use]
pub(crate) struct PendingReply {
    to: oneshot::Sender<Reply>,
    reply: Reply,
}

impl PendingReply {
    pub(crate) fn send(self) {
        // A caller that has stopped waiting has dropped its receiver.
        let _ = self.to.send(self.reply);
    }
}

pub(crate) struct Queue {
    /// Largest number of tokens of each lane.
    limits: PerLane,
    pub(crate) policy: Policy,
    /// Current number of tokens of each lane.
    held: PerLane,
    /// Lanes that have refused a request and have not had space for a batch since then.
    overfull: PerLane<bool>,
    open: HashMap<u64, OpenRequest>,
    /// Waiting texts, in the order of arrival.
    waiting: Vec<WaitingText>,
    balance: LaneBalance,
    next_request: u64,
    pub(crate) speed: Throughput,
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

/// A request that is not answered yet.
struct OpenRequest {
    request: Arc<PreparedRequest>,
    served: ServedModel,
    lane: Lane,
    answers: Vec<Option<TextAnswer>>,
    /// Number of texts that have no answer yet.
    unanswered: usize,
    /// Tokens of the texts that have no answer yet.
    tokens: usize,
    admitted: Duration,
    inference: Duration,
    /// Number of the last batch that had a text of the request.
    batch: u64,
    reply: oneshot::Sender<Reply>,
}

struct WaitingText {
    request: u64,
    index: usize,
    candidate: Candidate,
}

/// Texts that the model answers together.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) served: ServedModel,
    pub(crate) texts: Vec<BatchText>,
    pub(crate) tokens: usize,
}

#[derive(Clone)]
pub(crate) struct BatchText {
    pub(crate) id: TextId,
    pub(crate) request: Arc<PreparedRequest>,
}

/// A text, by the number of its request and its index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextId {
    pub(crate) request: u64,
    pub(crate) index: usize,
}

/// Batches are larger by this factor while a request has the engine to itself. All threads wait at
/// the end of a batch: with half as many batches, 100 passages of 64 tokens took 0.88 of the time.
/// A request that arrives in the meantime waits for one such batch at most.
const ALONE: usize = 2;

impl Queue {
    pub(crate) fn new(limits: PerLane, policy: Policy) -> Self {
        Self {
            limits,
            policy,
            held: PerLane::default(),
            overfull: PerLane::default(),
            open: HashMap::new(),
            waiting: Vec::new(),
            balance: LaneBalance::default(),
            next_request: 0,
            speed: Throughput::default(),
        }
    }

    /// The lane for a request of `tokens` tokens, if there is space.
    fn lane_with_space(&mut self, lane: Lane, tokens: usize) -> Result<Lane, RequestError> {
        let lane = if tokens > self.limits.interactive { Lane::Bulk } else { lane };
        let (held, limit) = (*self.held.of(lane), *self.limits.of(lane));
        if tokens > limit {
            return Err(RequestError::TooLarge { tokens, limit });
        }
        match (held + tokens).checked_sub(limit) {
            None | Some(0) => Ok(lane),
            Some(excess) => {
                *self.overfull.of(lane) = true;
                Err(self.full(lane, excess))
            }
        }
    }

    /// Refuses a request before its tokens are counted. A lane that was full counts as full until
    /// it has space for a batch, or an eighth of it is free: under overload, tokenizing requests
    /// that are refused later would take time from the others.
    pub(crate) fn refuse_early(&mut self, lane: Lane) -> Result<(), RequestError> {
        let limit = *self.limits.of(lane);
        let space = self.policy.batch_tokens.min(limit / 8);
        let excess = self.held.of(lane).saturating_sub(limit - space);
        *self.overfull.of(lane) &= excess > 0;
        if *self.overfull.of(lane) { Err(self.full(lane, excess)) } else { Ok(()) }
    }

    /// - `excess`: number of tokens to answer before there is space
    pub(crate) fn full(&mut self, lane: Lane, excess: usize) -> RequestError {
        let (queued_tokens, limit) = (*self.held.of(lane), *self.limits.of(lane));
        RequestError::Full { queued_tokens, limit, retry_after: self.speed.time_for(excess) }
    }

    /// Reserves space for a whole request, or refuses it.
    pub(crate) fn admit(
        &mut self,
        request: PreparedRequest,
        served: ServedModel,
        lane: Lane,
        now: Duration,
    ) -> Result<(u64, oneshot::Receiver<Reply>), RequestError> {
        let count = request.texts.len();
        let tokens = (0..count).map(|index| request.tokens(index)).sum();
        let lane = self.lane_with_space(lane, tokens)?;
        *self.held.of(lane) += tokens;
        let id = self.next_request;
        self.next_request += 1;
        self.waiting.extend((0..count).map(|index| {
            let (tokens, model) = (request.tokens(index), served.number);
            WaitingText {
                request: id,
                index,
                candidate: Candidate { tokens, lane, arrived: now, model },
            }
        }));
        let (reply, receiver) = oneshot::channel();
        self.open.insert(
            id,
            OpenRequest {
                request: Arc::new(request),
                served,
                lane,
                answers: (0..count).map(|_| None).collect(),
                unanswered: count,
                tokens,
                admitted: now,
                inference: Duration::ZERO,
                batch: 0,
                reply,
            },
        );
        Ok((id, receiver))
    }

    /// The next batch, if texts wait.
    ///
    /// - `number`: number of the batch, counted from 1
    pub(crate) fn take(&mut self, number: u64) -> Option<Batch> {
        let mut policy = self.policy;
        if self.open.len() == 1 {
            policy.batch_tokens = policy.batch_tokens.saturating_mul(ALONE);
        }
        let (chosen, balance) = next_batch(&self.candidates(), self.balance, &policy);
        self.balance = balance;
        self.remove(number, &chosen)
    }

    /// The next batch to answer between two layers of another one.
    pub(crate) fn take_for_layer_break(&mut self, number: u64, outer: &Batch) -> Option<Batch> {
        let lengths = outer.texts.iter().map(|text| text.request.tokens(text.id.index));
        let longest = lengths.max().unwrap_or(0);
        let model = outer.served.number;
        let chosen = layer_break_batch(&self.candidates(), model, longest, &self.policy);
        self.remove(number, &chosen)
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.waiting.iter().map(|text| text.candidate).collect()
    }

    /// - `chosen`: indices in `waiting`
    fn remove(&mut self, number: u64, chosen: &[usize]) -> Option<Batch> {
        let mut is_taken = vec![false; self.waiting.len()];
        let (mut served, mut tokens) = (None, 0);
        let mut texts = Vec::with_capacity(chosen.len());
        for i in chosen {
            is_taken[*i] = true;
            let WaitingText { request, index, candidate } = self.waiting[*i];
            tokens += candidate.tokens;
            let open =
                self.open.get(&request).expect("a text that waits belongs to an open request");
            served.get_or_insert_with(|| open.served.clone());
            let id = TextId { request, index };
            texts.push(BatchText { id, request: Arc::clone(&open.request) });
        }
        let served = served?;
        let mut is_taken = is_taken.into_iter();
        self.waiting.retain(|_| is_taken.next() != Some(true));
        Some(Batch { number, served, texts, tokens })
    }

    /// Stores the answer for a text; the last answer of a request completes its reply. An error
    /// ends the request. Does nothing if the request has been removed.
    ///
    /// - `batch`: number of the text's batch, and how long it took
    pub(crate) fn finish(
        &mut self,
        id: TextId,
        answer: Result<TextAnswer, RequestError>,
        batch: (u64, Duration),
        now: Duration,
    ) -> Option<PendingReply> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let open = self.close(id.request)?;
                return Some(PendingReply { to: open.reply, reply: Err(error) });
            }
        };
        let open = self.open.get_mut(&id.request)?;
        if open.batch != batch.0 {
            open.batch = batch.0;
            open.inference += batch.1;
        }
        let tokens = open.request.tokens(id.index);
        open.answers[id.index] = Some(answer);
        open.unanswered -= 1;
        open.tokens -= tokens;
        *self.held.of(open.lane) -= tokens;
        if open.unanswered > 0 {
            return None;
        }
        let open = self.open.remove(&id.request)?;
        let since = now.saturating_sub(open.admitted);
        let timing = Timing {
            tokenize: Duration::ZERO,
            queue: since.saturating_sub(open.inference),
            inference: open.inference,
        };
        let reply = EngineReply {
            texts: open.answers.into_iter().flatten().collect(),
            model: open.served.model,
            timing,
            tasks: open.request.resolved.tasks().to_vec(),
        };
        Some(PendingReply { to: open.reply, reply: Ok(reply) })
    }

    /// Ends a request with an error, if it still exists; returns the number of its unanswered
    /// texts.
    pub(crate) fn fail(&mut self, request: u64, error: RequestError) -> usize {
        let Some(open) = self.close(request) else { return 0 };
        PendingReply { to: open.reply, reply: Err(error) }.send();
        open.unanswered
    }

    /// Removes a request whose caller has stopped waiting; returns whether it still existed.
    pub(crate) fn cancel(&mut self, request: u64) -> bool {
        self.close(request).is_some()
    }

    fn close(&mut self, request: u64) -> Option<OpenRequest> {
        let open = self.open.remove(&request)?;
        *self.held.of(open.lane) -= open.tokens;
        self.waiting.retain(|text| text.request != request);
        Some(open)
    }

    /// Ends all requests with an error; returns the number of their unanswered texts.
    pub(crate) fn fail_all(&mut self, error: &RequestError) -> usize {
        let requests: Vec<u64> = self.open.keys().copied().collect();
        requests.into_iter().map(|request| self.fail(request, error.clone())).sum()
    }

    /// Moves requests from an abandoned model to another one. If the models are not compatible,
    /// the requests fail.
    pub(crate) fn move_to(&mut self, from: u64, served: &ServedModel) {
        let mut lost = Vec::new();
        for (id, open) in self.open.iter_mut().filter(|(_, open)| open.served.number == from) {
            if open.served.model.is_compatible_with(&served.model) {
                open.served = served.clone();
            } else {
                lost.push(*id);
            }
        }
        for id in lost {
            let index = self.waiting.iter().find(|text| text.request == id).map_or(0, |t| t.index);
            self.fail(id, RequestError::Lost { index });
        }
        for text in self.waiting.iter_mut().filter(|text| text.candidate.model == from) {
            text.candidate.model = served.number;
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn tokens(&self) -> usize {
        self.held.interactive + self.held.bulk
    }

    pub(crate) fn texts(&self) -> usize {
        self.open.values().map(|open| open.unanswered).sum()
    }
}

/// Tokens per second of the last batches.
#[derive(Default)]
pub(crate) struct Throughput {
    tokens: f64,
    seconds: f64,
}

impl Throughput {
    pub(crate) fn learn(&mut self, tokens: usize, took: Duration) {
        const DECAY: f64 = 0.9;
        self.tokens = DECAY * self.tokens + tokens as f64;
        self.seconds = DECAY * self.seconds + took.as_secs_f64();
    }

    fn time_for(&self, tokens: usize) -> Duration {
        let seconds = tokens as f64 * self.seconds / self.tokens.max(1.0);
        Duration::from_secs_f64(seconds.clamp(0.001, 3600.0))
    }
}

#[cfg(test)]
mod tests {

    use polyhead_model::LoadOptions;
    use polyhead_text::TextTokens;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::prepare::prepare;
    use crate::engine::request::EngineRequest;

    /// An event of a queue.
    #[derive(Clone, Debug)]
    enum Step {
        Admit {
            texts: usize,
            lane: Lane,
        },
        Cancel {
            which: usize,
        },
        /// Takes a batch and answers it, except every n-th text.
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

    fn served() -> ServedModel {
        let path = polyhead_testing::tiny_model("tiny-bert");
        let folder = polyhead_model::ModelFolder::open(&path).unwrap();
        let options = LoadOptions::default().threads(1);
        let model = MultiTaskModel::from_folder(folder, &options).unwrap();
        ServedModel { model: Arc::new(model), number: 1 }
    }

    /// Batches of 20 tokens.
    fn queue() -> Queue {
        let policy = Policy { batch_tokens: 20, patience: Duration::from_millis(4) };
        Queue::new(PerLane { interactive: 40, bulk: 60 }, policy)
    }

    #[test]
    fn a_request_alone_has_larger_batches() {
        let (served, mut queue) = (served(), queue());
        let admit = |queue: &mut Queue, texts: usize| {
            // Four tokens each.
            let request = EngineRequest::texts(vec!["the train"; texts]);
            let request = prepare(&served.model, &request, 1000, None).unwrap();
            queue.admit(request, served.clone(), Lane::Bulk, Duration::ZERO).unwrap()
        };
        let _first = admit(&mut queue, 12);
        assert_eq!(queue.take(1).unwrap().tokens, 40);
        let _second = admit(&mut queue, 3);
        assert_eq!(queue.take(2).unwrap().tokens, 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// For any order of events, no space is lost, and every caller gets one reply.
        #[test]
        fn space_and_replies_add_up(steps in prop::collection::vec(step(), 1..40)) {
            let (served, mut queue) = (served(), queue());
            let mut listening: Vec<(u64, usize, oneshot::Receiver<Reply>)> = Vec::new();
            let mut now = Duration::ZERO;
            // At the end, everything is answered.
            let ending = std::iter::repeat_n(Step::Batch { failing: None }, 60);
            for (number, step) in (1..).zip(steps.into_iter().chain(ending)) {
                now += Duration::from_millis(7);
                match step {
                    Step::Admit { texts, lane } => {
                        let request = EngineRequest::texts(vec!["the train"; texts]);
                        let request = prepare(&served.model, &request, 1000, None).unwrap();
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
                            let answer = if fails {
                                Err(RequestError::Failed { index: text.id.index })
                            } else {
                                Ok(TextAnswer {
                                    tokens: TextTokens::default(),
                                    tasks: Vec::new(),
                                    vector: None,
                                    token_vectors: None,
                                })
                            };
                            let batch = (number, Duration::ZERO);
                            queue.finish(text.id, answer, batch, now).into_iter().for_each(PendingReply::send);
                        }
                    }
                    Step::FailAll => {
                        queue.fail_all(&RequestError::NotReady);
                        prop_assert_eq!(queue.tokens(), 0);
                    }
                }
                prop_assert!(queue.held.interactive <= 40 && queue.held.bulk <= 60);
                prop_assert_eq!(queue.tokens(), 4 * queue.texts());
            }
            prop_assert_eq!((queue.tokens(), queue.requests(), queue.waiting.len()), (0, 0, 0));
            for (_, texts, mut receiver) in listening {
                match receiver.try_recv() {
                    Ok(Ok(reply)) => prop_assert_eq!(reply.texts.len(), texts),
                    Ok(Err(_)) => {}
                    Err(_) => prop_assert!(false, "a caller waits for ever"),
                }
            }
        }
    }
}
