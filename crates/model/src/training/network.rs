//! The multi-task network in training: one encoder, any number of heads, forward
//! and backward by hand.
//!
//! [`Network`] owns the numbers ([`ParameterStore`]) and packed copies of them;
//! a [`Pass`] holds what one forward leaves for its backward. What is trained is
//! said by the [`Gradients`] that a caller brings: [`Network::depth`] tells how
//! far down a backward has to go, and what lies below runs as in answering,
//! without dropout, keeping nothing.

use polyhead_compute::{Buffer, Cpu, Isa, Random, Threads};

use crate::encoder::{EncoderConfig, EncoderTensors, ParameterGroup, Sequences, TensorKind};
use crate::error::Error;
use crate::folder::ModelFolder;
use crate::heads::{HeadDims, HeadWeights, INITIAL_DEVIATION};
use crate::heads::{HeadLayer, HeadSpec};
use crate::modules::{Module, PoolingSpec};
use crate::training::dropout::{DropoutStream, Mode};
use crate::training::gradients::Gradients;
use crate::training::head::TrainableHead;
use crate::training::layer::{LayerPass, TrainableLayer};
use crate::training::module::TrainableModule;
use crate::training::pass::Pass;
use crate::training::store::{ParameterStore, TrainableLayout};

/// An encoder and its heads, with their numbers in one store.
pub struct Network {
    pub(super) isa: Isa,
    pub(super) config: EncoderConfig,
    pub(super) store: ParameterStore,
    /// The entries of the encoder's tensors in the store.
    pub(super) entries: EncoderTensors<usize>,
    pub(super) layers: Vec<TrainableLayer>,
    pub(super) pooling: PoolingSpec,
    pub(super) modules: Vec<TrainableModule>,
    pub(super) heads: Vec<TrainableHead>,
    pub(super) site: HeadDims,
}

/// What a network is made with, besides the folder and the heads.
#[derive(Clone, Debug, Default)]
pub struct NetworkOptions {
    /// Pooling instead of the folder's.
    pub pooling: Option<PoolingSpec>,
    /// Dropout of hidden states instead of `config.json`'s.
    pub hidden_dropout: Option<f32>,
    /// Dropout of attention probabilities instead of `config.json`'s.
    pub attention_dropout: Option<f32>,
    /// Only this many layers, from the input upwards.
    pub layers: Option<usize>,
    /// Random weights from this seed instead of the folder's, as BERT begins:
    /// normal with deviation 0.02, biases 0, norms 1.
    pub random: Option<u64>,
}

/// Sequences of a pass and what heads need to know about them.
#[derive(Clone, Copy)]
pub struct NetworkInput<'a> {
    /// End to end.
    pub sequences: Sequences<'a>,
    /// `[B]`: the number of each sequence in its optimizer step. Dropout is
    /// drawn by it, so it does not matter how a step is cut into passes.
    pub rows: &'a [u32],
    /// `[M]`: the tokens that heads of kind `tokens` read, as places in the batch.
    pub words: &'a [usize],
    /// Tokens at the beginning of each sequence that are the prompt's.
    pub prompt_tokens: usize,
    /// Hidden states that are known already, one `[N, D]` for each of
    /// [`Depth::cached`]: the pass begins above them.
    pub known: Option<&'a [&'a [f32]]>,
}

/// How far up the heads of a pass read, and how far down training reaches.
///
/// Hidden states are counted as in `transformers`: 0 is the embeddings, `i` the
/// output of layer `i`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The hidden state below which everything is frozen.
    pub start: usize,
    /// Whether the embeddings are trained; then `start` is 0.
    pub embeddings: bool,
    /// The highest hidden state that a head reads.
    pub top: usize,
    /// Hidden states that do not change while this depth is in force and that
    /// something above reads, ascending: worth keeping from epoch to epoch.
    pub cached: Vec<usize>,
    /// All hidden states that heads read.
    read: Vec<usize>,
}

impl Network {
    /// The encoder and modules of `folder`, with these heads.
    ///
    /// # Errors
    /// [`ErrorKind::Option`](crate::ErrorKind::Option) if a head or an option
    /// does not fit the model.
    pub fn new(
        folder: &ModelFolder,
        heads: &[HeadWeights],
        options: &NetworkOptions,
        threads: &Threads,
    ) -> Result<Self, Error> {
        let isa = Isa::detect();
        let mut config = folder.config.clone();
        config.layers = options.kept_layers(&config)?;
        config.hidden_dropout = options.hidden_dropout.unwrap_or(config.hidden_dropout);
        config.attention_dropout = options.attention_dropout.unwrap_or(config.attention_dropout);
        let mut modules = folder.modules.clone();
        if let (Some(pooling), Some(Module::Pooling(spec))) =
            (&options.pooling, modules.first_mut())
        {
            spec.clone_from(pooling);
        }
        let Some(Module::Pooling(pooling)) = modules.first().cloned() else {
            unreachable!("the pooling is the first module: see ModelFolder::modules")
        };
        let site = HeadDims {
            hidden_size: config.hidden_size,
            layers: config.layers,
            embedding: crate::modules::output_width(config.hidden_size, &modules)?,
        };
        for head in heads {
            head.check(&site)?;
        }

        let mut store = ParameterStore::default();
        let entries = push_encoder(&mut store, folder, &config, options.random);
        let layers = entries
            .layers
            .iter()
            .map(|entries| TrainableLayer::new(&config, isa, entries))
            .collect();
        let mut trainable = Vec::new();
        for (index, module) in modules.iter().enumerate() {
            let names: Vec<String> = folder
                .parameters
                .iter()
                .filter(|parameter| parameter.group == ParameterGroup::Module(index))
                .map(|parameter| parameter.name.clone())
                .collect();
            trainable.extend(TrainableModule::push(&mut store, module, &names, index, isa));
        }
        let heads = heads
            .iter()
            .enumerate()
            .map(|(i, head)| TrainableHead::push(&mut store, head, i, &site, isa))
            .collect();
        let mut network =
            Self { isa, config, store, entries, layers, pooling, modules: trainable, heads, site };
        threads.cpu(isa, |cpu| network.refresh(cpu, &|_| true));
        Ok(network)
    }

    /// Sizes and functions of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// What the heads are attached to.
    pub fn site(&self) -> &HeadDims {
        &self.site
    }

    /// The model's own pooling.
    pub fn pooling(&self) -> &PoolingSpec {
        &self.pooling
    }

    /// The instruction set of its kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// All numbers, by name, shape and group.
    pub fn store(&self) -> &ParameterStore {
        &self.store
    }

    /// Changes numbers of the entries that `changed` names, and tells the packed copies.
    pub fn update<R>(
        &mut self,
        cpu: Cpu,
        changed: &dyn Fn(usize) -> bool,
        change: impl FnOnce(&mut ParameterStore) -> R,
    ) -> R {
        let result = change(&mut self.store);
        self.refresh(cpu, changed);
        result
    }

    /// Number of heads.
    pub fn head_count(&self) -> usize {
        self.heads.len()
    }

    /// What head `head` is.
    pub fn head_spec(&self, head: usize) -> &HeadSpec {
        &self.heads[head].spec
    }

    /// Temperature and thresholds of a head, found after training.
    pub fn calibrate(&mut self, head: usize, temperature: f32, thresholds: Vec<f32>) {
        let spec = &mut self.heads[head].spec;
        spec.temperature = temperature;
        spec.thresholds = thresholds;
    }

    /// Head `head` as it stands now.
    pub fn head_weights(&self, head: usize) -> HeadWeights {
        self.heads[head].weights(&self.store)
    }

    /// How far a pass with these heads goes up, and its backward down.
    ///
    /// - `layout`: what is trained
    /// - `active`: one flag a head
    pub fn depth(&self, layout: &TrainableLayout, active: &[bool]) -> Depth {
        let mut read: Vec<usize> = Vec::new();
        for (head, _) in self.heads.iter().zip(active).filter(|(_, active)| **active) {
            match head.spec.layer {
                HeadLayer::Last => read.push(self.config.layers),
                HeadLayer::At(layer) => read.push(layer),
                HeadLayer::Mix => read.extend(0..=self.config.layers),
            }
        }
        read.sort_unstable();
        read.dedup();
        let top = read.last().copied().unwrap_or(self.config.layers);
        let flags = |entry: usize| layout.is_trainable(entry);
        let embeddings = (self.entries.word..=self.entries.norm.bias).any(flags);
        let lowest = self.layers.iter().position(|layer| layer.is_trainable(&flags));
        let start = if embeddings { 0 } else { lowest.unwrap_or(top).min(top) };
        let mut cached: Vec<usize> = Vec::new();
        if !embeddings {
            cached.extend(read.iter().filter(|state| **state <= start));
            if cached.last() != Some(&start) {
                cached.push(start);
            }
        }
        Depth { start, embeddings, top, cached, read }
    }

    /// Which entries of the index the answers of these heads depend on. The
    /// others have no gradient in a step of these heads, not even one of zero.
    pub fn reached(&self, active: &[bool]) -> Vec<bool> {
        let heads = || self.heads.iter().zip(active).filter(|(_, active)| **active);
        let top = heads().map(|(head, _)| self.state_of(head)).max();
        let modules = heads().any(|(head, _)| head.reads_embedding());
        let reached = |group| match group {
            ParameterGroup::Embeddings => top.is_some(),
            ParameterGroup::Layer(layer) => top.is_some_and(|top| layer < top),
            ParameterGroup::Pooler => false,
            ParameterGroup::Module(_) => modules,
            ParameterGroup::Head(head) => active[head],
        };
        self.store.entries().iter().map(|entry| reached(entry.group)).collect()
    }

    /// Makes what a backward of this depth needs, and drops what it does not.
    pub fn prepare_backward(&mut self, cpu: Cpu, depth: &Depth) {
        let Self { layers, config, store, .. } = self;
        for (i, layer) in layers.iter_mut().enumerate() {
            match (depth.start..depth.top).contains(&i) {
                true => layer.prepare_backward(config, store, cpu),
                false => layer.drop_backward(),
            }
        }
    }

    /// Runs the encoder and the heads that are `active`; answers are in `pass`.
    ///
    /// # Panics
    /// If an id lies outside the vocabulary or a sequence is longer than the
    /// position table: callers check both.
    pub fn forward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        mode: Mode,
        depth: &Depth,
        active: &[bool],
        pass: &mut Pass,
    ) {
        let stream = DropoutStream::of(mode);
        pass.begin(self, input, stream, active);
        let kept_from = match mode {
            Mode::Evaluate => depth.top,
            Mode::Train { .. } => depth.start,
        };
        if depth.embeddings && stream.is_training() {
            self.embed_train(cpu, input, pass);
        } else {
            self.lower_part(cpu, input, depth, kept_from, pass);
        }
        for index in kept_from..depth.top {
            let (below, above) = pass.states.split_at_mut(index + 1);
            above[0].resize(below[index].len());
            let layer_pass = LayerPass {
                cpu,
                config: &self.config,
                offsets: input.sequences.offsets,
                tokens: &pass.tokens,
                stream,
            };
            let kept = &mut pass.layers[index];
            self.layers[index].forward(layer_pass, index, &below[index], kept, &mut above[0]);
        }
        for (index, head) in self.heads.iter().enumerate() {
            if active[index] {
                self.head_input(cpu, head, input, index, pass);
                head.forward(cpu, stream, &mut pass.heads[index]);
            }
        }
    }

    /// Adds the gradients of what is trained, from the `dlogits` in `pass`.
    ///
    /// `depth` and `input` are those of the forward before, which was one of
    /// training; `prepare_backward` was called for this depth.
    pub fn backward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        depth: &Depth,
        pass: &mut Pass,
        gradients: &mut Gradients,
    ) {
        let stream = pass.stream;
        let lowest = if depth.embeddings { 0 } else { depth.start + 1 };
        pass.live = vec![false; self.config.layers + 1];
        let mut dvectors = Vec::new();
        for (index, head) in self.heads.iter().enumerate() {
            if !pass.active[index] {
                continue;
            }
            let mix_trained = head.shares().is_some() && head.is_trainable(gradients);
            let wanted = mix_trained || self.reads_trainable(head, lowest, gradients);
            if !wanted && !head.is_trainable(gradients) {
                continue;
            }
            let kept = &pass.heads[index];
            let dx = head.backward(cpu, stream, kept, wanted, gradients);
            if !wanted {
                continue;
            }
            match head.reads_embedding() {
                false => self.give_to_states(cpu, head, input, lowest, &dx, pass, gradients),
                true if dvectors.is_empty() => dvectors = dx,
                true => cpu.add(&dx, &mut dvectors),
            }
        }
        if !dvectors.is_empty() {
            self.modules_backward(cpu, input, lowest, dvectors, pass, gradients);
        }
        self.encoder_backward(cpu, input, depth, lowest, pass, gradients);
    }

    /// Sentence vectors `[B, embedding]` of the last pass: the model's pooling and modules.
    ///
    /// # Panics
    /// If the pass did not reach the last layer.
    pub fn sentence_vectors(&self, cpu: Cpu, input: &NetworkInput, pass: &mut Pass) -> Vec<f32> {
        self.fill_sentence_vectors(cpu, input, pass);
        pass.sentence.vectors.clone()
    }
}

/// Forward, piece by piece.
impl Network {
    /// Hidden states up to `end` as in answering; those that something reads are
    /// copied to `pass.states`.
    fn lower_part(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        depth: &Depth,
        end: usize,
        pass: &mut Pass,
    ) {
        if let Some(known) = input.known {
            for (state, values) in depth.cached.iter().zip(known) {
                pass.states[*state].resize(values.len());
                pass.states[*state].copy_from_slice(values);
            }
            if end == depth.start {
                return;
            }
        }
        let Sequences { ids, type_ids, offsets } = input.sequences;
        let first = if input.known.is_some() { depth.start } else { 0 };
        let Pass { workspace, states, .. } = pass;
        workspace.resize(&self.config, ids.len());
        if input.known.is_some() {
            workspace.hidden.copy_from_slice(&states[first]);
        } else {
            cpu.embed(&self.tables(), ids, type_ids, offsets, &mut workspace.hidden);
            let (weight, bias) = self.norm_of_embeddings();
            let eps = self.config.layer_norm_eps;
            cpu.layer_norm(&mut workspace.hidden, weight, bias, eps);
        }
        for (index, state) in states.iter_mut().enumerate().take(end + 1).skip(first) {
            if index > first {
                let layer = &self.layers[index - 1].layer;
                layer.forward(cpu, &self.config, offsets, None, workspace);
            }
            if index == end || depth.read.contains(&index) || depth.cached.contains(&index) {
                state.resize(workspace.hidden.len());
                state.copy_from_slice(&workspace.hidden);
            }
        }
    }

    /// Fills `x` and `keys` of head `index`.
    fn head_input(
        &self,
        cpu: Cpu,
        head: &TrainableHead,
        input: &NetworkInput,
        index: usize,
        pass: &mut Pass,
    ) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let mut kept = std::mem::take(&mut pass.heads[index]);
        kept.x.clear();
        kept.keys.clear();
        if head.reads_embedding() {
            self.fill_sentence_vectors(cpu, input, pass);
            kept.x.extend_from_slice(&pass.sentence.vectors);
            kept.keys.extend(offsets[..offsets.len() - 1].iter().map(|at| pass.key_at(*at)));
            pass.heads[index] = kept;
            return;
        }
        let mixed;
        let state: &[f32] = match head.shares() {
            Some(shares) => {
                mixed = mix(cpu, shares, &pass.states, offsets[offsets.len() - 1] * width);
                &mixed
            }
            None => &pass.states[self.state_of(head)],
        };
        if head.spec.kind.reads_words() {
            kept.x.resize(input.words.len() * width, 0.0);
            cpu.gather_rows(state, width, input.words, &mut kept.x);
            kept.keys.extend(input.words.iter().map(|word| pass.tokens[*word]));
        } else {
            let spec = &head.spec.pooling;
            let sequences = spec.sequences(offsets, input.prompt_tokens);
            kept.x.resize(sequences.len() * spec.modes.len() * width, 0.0);
            cpu.pool(&spec.modes, state, width, &sequences, &mut kept.x);
            kept.keys.extend(offsets[..sequences.len()].iter().map(|at| pass.key_at(*at)));
        }
        pass.heads[index] = kept;
    }

    /// The hidden state that a head without a mix reads.
    fn state_of(&self, head: &TrainableHead) -> usize {
        match head.spec.layer {
            HeadLayer::At(layer) => layer,
            HeadLayer::Last | HeadLayer::Mix => self.config.layers,
        }
    }

    fn fill_sentence_vectors(&self, cpu: Cpu, input: &NetworkInput, pass: &mut Pass) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let rows = offsets.len() - 1;
        let PoolingSpec { modes, .. } = &self.pooling;
        let sequences = self.pooling.sequences(offsets, input.prompt_tokens);
        let mut vectors = vec![0.0; rows * modes.len() * width];
        cpu.pool(modes, &pass.states[self.config.layers], width, &sequences, &mut vectors);
        pass.sentence.modules.resize_with(self.modules.len(), Default::default);
        for (module, kept) in self.modules.iter().zip(&mut pass.sentence.modules) {
            vectors = module.forward(cpu, &self.store, vectors, rows, kept);
        }
        pass.sentence.vectors = vectors;
    }
}

/// Backward, piece by piece.
impl Network {
    /// Whether something that is trained lies below what this head reads.
    fn reads_trainable(&self, head: &TrainableHead, lowest: usize, gradients: &Gradients) -> bool {
        self.state_of(head) >= lowest
            || (head.reads_embedding() && self.modules_trainable(gradients))
    }

    fn modules_trainable(&self, gradients: &Gradients) -> bool {
        self.store.entries().iter().enumerate().any(|(i, entry)| {
            matches!(entry.group, ParameterGroup::Module(_)) && gradients.layout().is_trainable(i)
        })
    }

    /// Adds `dx` of a head to the hidden states that it reads.
    #[expect(clippy::too_many_arguments, reason = "the pass, and where gradients go")]
    fn give_to_states(
        &self,
        cpu: Cpu,
        head: &TrainableHead,
        input: &NetworkInput,
        lowest: usize,
        dx: &[f32],
        pass: &mut Pass,
        gradients: &mut Gradients,
    ) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let size = offsets[offsets.len() - 1] * width;
        let spread = |state: &[f32], dstate: &mut [f32]| {
            if head.spec.kind.reads_words() {
                return cpu.gather_rows_backward(dx, width, input.words, dstate);
            }
            let spec = &head.spec.pooling;
            let sequences = spec.sequences(offsets, input.prompt_tokens);
            cpu.pool_backward(&spec.modes, state, width, &sequences, dx, dstate);
        };
        let Some(shares) = head.shares() else {
            let state = self.state_of(head);
            if state >= lowest {
                pass.wake(state, size);
                let Pass { states, dstates, .. } = pass;
                spread(&states[state], &mut dstates[state]);
            }
            return;
        };
        let mut dmixed = vec![0.0; size];
        spread(&mix(cpu, shares, &pass.states, size), &mut dmixed);
        let dots: Vec<f64> = pass.states[..shares.len()]
            .iter()
            .map(|state| cpu.dot(&state[..size], &dmixed))
            .collect();
        head.mix_gradient(&dots, gradients);
        for (state, share) in shares.iter().enumerate().skip(lowest) {
            pass.wake(state, size);
            cpu.add_scaled(*share, &dmixed, &mut pass.dstates[state]);
        }
    }

    fn modules_backward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        lowest: usize,
        mut dvectors: Vec<f32>,
        pass: &mut Pass,
        gradients: &mut Gradients,
    ) {
        let width = self.config.hidden_size;
        let offsets = input.sequences.offsets;
        let rows = offsets.len() - 1;
        for (module, kept) in self.modules.iter().zip(&pass.sentence.modules).rev() {
            dvectors = module.backward(cpu, &self.store, kept, dvectors, gradients);
        }
        let last = self.config.layers;
        if last < lowest {
            return;
        }
        pass.wake(last, offsets[rows] * width);
        let PoolingSpec { modes, .. } = &self.pooling;
        let sequences = self.pooling.sequences(offsets, input.prompt_tokens);
        let (states, dstates) = (&pass.states[last], &mut pass.dstates[last]);
        cpu.pool_backward(modes, states, width, &sequences, &dvectors, dstates);
    }

    /// From the gradients of hidden states to those of layers and embeddings.
    fn encoder_backward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        depth: &Depth,
        lowest: usize,
        pass: &mut Pass,
        gradients: &mut Gradients,
    ) {
        let stream = pass.stream;
        // The gradient that flows down; empty as long as no head has added to it.
        let mut dhidden = Buffer::default();
        for state in (lowest..=depth.top).rev() {
            if pass.live[state] {
                match dhidden.is_empty() {
                    true => std::mem::swap(&mut dhidden, &mut pass.dstates[state]),
                    false => cpu.add(&pass.dstates[state], &mut dhidden),
                }
            }
            if dhidden.is_empty() {
                continue;
            }
            if state == 0 {
                self.embeddings_backward(cpu, input, pass, &mut dhidden, gradients);
                continue;
            }
            let index = state - 1;
            let layer_pass = LayerPass {
                cpu,
                config: &self.config,
                offsets: input.sequences.offsets,
                tokens: &pass.tokens,
                stream,
            };
            self.layers[index].backward(
                layer_pass,
                index,
                &pass.states[index],
                &pass.layers[index],
                &mut dhidden,
                index >= lowest,
                &mut pass.scratch,
                gradients,
            );
        }
        // The memory goes back to where it came from.
        if let Some(state) = (lowest..=depth.top).rev().find(|state| pass.live[*state]) {
            pass.dstates[state] = dhidden;
        }
    }

    /// Packed copies take the numbers of the entries that have changed.
    fn refresh(&mut self, cpu: Cpu, changed: &dyn Fn(usize) -> bool) {
        let Self { layers, modules, heads, store, .. } = self;
        for layer in layers.iter_mut().filter(|layer| layer.is_trainable(changed)) {
            layer.refresh(store, cpu);
        }
        modules.iter_mut().for_each(|module| module.refresh(store, cpu));
        heads.iter_mut().for_each(|head| head.refresh(store, cpu));
    }
}

impl NetworkOptions {
    fn kept_layers(&self, config: &EncoderConfig) -> Result<usize, Error> {
        match self.layers {
            None => Ok(config.layers),
            Some(layers) if (1..=config.layers).contains(&layers) => Ok(layers),
            Some(layers) => {
                let message = format!("layers: expected 1 to {}, found {layers}", config.layers);
                Err(Error::new(crate::error::ErrorKind::Option, message))
            }
        }
    }
}

/// Adds the tensors of the encoder to `store`; returns their entries by role.
fn push_encoder(
    store: &mut ParameterStore,
    folder: &ModelFolder,
    config: &EncoderConfig,
    random: Option<u64>,
) -> EncoderTensors<usize> {
    let mut stored = folder.parameters.iter();
    EncoderTensors::specs(config).map(|spec| {
        // A folder lists its tensors in the order of the index, which is that of this map.
        let parameter = stored.next().expect("the folder has every tensor: see `checkpoint`");
        let count = parameter.count();
        let values = match (random, spec.kind) {
            (None, _) => parameter.tensor.to_vec(),
            (Some(_), TensorKind::Scale) => vec![1.0; count],
            (Some(_), TensorKind::Bias) => vec![0.0; count],
            (Some(seed), TensorKind::Weight) => {
                let mut random = Random::named(seed, &spec.name);
                (0..count).map(|_| INITIAL_DEVIATION * random.normal()).collect()
            }
        };
        let entry = store.entries().len();
        let decays = spec.kind == TensorKind::Weight;
        store.push(spec.name, spec.shape, spec.group, decays, &values);
        entry
    })
}

/// `Σ shareᵢ · stateᵢ`
fn mix(cpu: Cpu, shares: &[f32], states: &[Buffer], size: usize) -> Vec<f32> {
    let mut mixed = vec![0.0; size];
    for (share, state) in shares.iter().zip(states) {
        cpu.add_scaled(*share, &state[..size], &mut mixed);
    }
    mixed
}
