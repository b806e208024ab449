//! The multi-task network in training: one encoder, any number of heads, forward
//! and backward by hand.
//!
//! [`Network`] owns the parameters ([`ParameterStore`]) and packed copies of them; a [`Pass`] holds
//! the activations of one forward that its backward reads. The [`Gradients`] of the caller decide
//! which parameters are trained, and [`Network::depth`] how far down a backward has to go. The
//! layers below that depth run as in answering, without dropout and without caches.

use polyhead_compute::{Cpu, Isa, Random, Threads};

use crate::encoder::{
    EncoderConfig, EncoderTensors, Parameter, ParameterGroup, Sequences, TensorKind, distance_bias,
};
use crate::error::{Error, ErrorKind, fail};
use crate::folder::ModelFolder;
use crate::heads::{HeadDims, HeadSpec, HeadWeights, INITIAL_DEVIATION};
use crate::modules::{Module, PoolingSpec};
use crate::training::depth::Depth;
use crate::training::dropout::{DropoutStream, Mode};
use crate::training::gradients::Gradients;
use crate::training::head::TrainableHead;
use crate::training::layer::TrainableLayer;
use crate::training::module::{TrainableLinear, TrainableModule};
use crate::training::pass::Pass;
use crate::training::store::ParameterStore;

/// An encoder and its heads, with all parameters in one store.
pub struct Network {
    pub(super) isa: Isa,
    pub(super) config: EncoderConfig,
    pub(super) store: ParameterStore,
    /// The entries of the encoder's tensors in the store.
    pub(super) entries: EncoderTensors<usize>,
    /// The layer between narrow embedding tables and the hidden states.
    pub(super) projection: Option<TrainableLinear>,
    /// `[H, 2·L − 1]`: the bias of attention by distance.
    pub(super) distance_bias: Option<Vec<f32>>,
    pub(super) layers: Vec<TrainableLayer>,
    pub(super) pooling: PoolingSpec,
    pub(super) modules: Vec<TrainableModule>,
    pub(super) heads: Vec<TrainableHead>,
    pub(super) dims: HeadDims,
}

/// Settings of a network that replace those of the model folder.
#[derive(Clone, Debug, Default)]
pub struct NetworkOptions {
    /// Pooling of the model; `None`: as in the folder.
    pub pooling: Option<PoolingSpec>,
    /// Dropout of hidden states; `None`: as in `config.json`.
    pub hidden_dropout: Option<f32>,
    /// Dropout of attention probabilities; `None`: as in `config.json`.
    pub attention_dropout: Option<f32>,
    /// Number of encoder layers, counted from the input; `None`: all.
    pub layers: Option<usize>,
    /// Encoder layers of the folder, counted from 0 and ascending, in place of the first ones; empty:
    /// as `layers` says.
    pub chosen_layers: Vec<usize>,
    /// Seed of random encoder weights, distributed as before BERT's pre-training (normal with
    /// deviation 0.02, biases 0, norms 1); `None`: the weights of the folder.
    pub random: Option<u64>,
}

/// The sequences of a pass, and which of their tokens the heads read.
#[derive(Clone, Copy)]
pub struct NetworkInput<'a> {
    /// The token ids of all sequences in one list.
    pub sequences: Sequences<'a>,
    /// `[B]`: the index of each sequence in its optimizer step. The dropout masks depend on
    /// it, so they are the same however a step is split into passes.
    pub rows: &'a [u32],
    /// `[M]`: the tokens that heads of kind `tokens` read, as indices into the batch.
    pub words: &'a [usize],
    /// Number of tokens at the beginning of each sequence that belong to the prompt.
    pub prompt_tokens: usize,
    /// Cached hidden states, one `[N, D]` for each of [`Depth::cached`]; `None` if there are
    /// none. With them the pass begins above [`Depth::start`].
    pub known: Option<&'a [&'a [f32]]>,
}

impl Network {
    /// Builds the network from the encoder and the modules of `folder`, and `heads`.
    ///
    /// # Errors
    /// [`ErrorKind::Option`] if a head or an option does not fit the model.
    pub fn new(
        folder: &ModelFolder,
        heads: &[HeadWeights],
        options: &NetworkOptions,
        threads: &Threads,
    ) -> Result<Self, Error> {
        let isa = Isa::detect();
        let mut config = folder.config.clone();
        config.layers = options.layer_count(&config)?;
        if !options.chosen_layers.is_empty() {
            check_equal_layers(folder)?;
        }
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
        let dims = HeadDims::new(&config, &modules)?;
        for head in heads {
            head.check(&dims)?;
        }

        let mut store = ParameterStore::default();
        let entries = push_encoder(&mut store, folder, &config, options);
        let layers = entries
            .layers
            .iter()
            .zip(config.layer_positions())
            .map(|(entries, positions)| TrainableLayer::new(&config, isa, entries, positions))
            .collect();
        let projection = entries.projection.map(|pair| {
            let shape = (config.hidden_size, config.embedding_size);
            TrainableLinear::of_entries(isa, shape, &[pair])
        });
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
            .map(|(i, head)| TrainableHead::push(&mut store, head, i, &dims, isa))
            .collect();
        let mut network = Self {
            isa,
            config,
            store,
            distance_bias: entries.distance_bias.map(|_| Vec::new()),
            entries,
            projection,
            layers,
            pooling,
            modules: trainable,
            heads,
            dims,
        };
        threads.cpu(isa, |cpu| network.refresh(cpu, &|_| true));
        Ok(network)
    }

    /// The configuration of the encoder, with the settings of [`NetworkOptions`].
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The sizes that the shapes of heads depend on.
    pub fn head_dims(&self) -> &HeadDims {
        &self.dims
    }

    /// The pooling of the model; a head may have another.
    pub fn pooling(&self) -> &PoolingSpec {
        &self.pooling
    }

    /// The instruction set that the kernels of the network use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// All parameters, by name, shape and group.
    pub fn store(&self) -> &ParameterStore {
        &self.store
    }

    /// Changes parameters by `change`, and then the packed copies of those entries for which
    /// `changed` is true. Returns the result of `change`.
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

    /// The specification of head `head`.
    pub fn head_spec(&self, head: usize) -> &HeadSpec {
        &self.heads[head].spec
    }

    /// Numbers that head `head` gives for a text or a word: its logits, or if its kind compares
    /// vectors, the vector that it reads or that its hidden layer makes of it.
    pub fn head_outputs(&self, head: usize) -> usize {
        let spec = self.head_spec(head);
        match spec.kind.compares() {
            true => spec.hidden.unwrap_or_else(|| spec.inputs(&self.dims)),
            false => spec.outputs(),
        }
    }

    /// Sets temperature and thresholds of a head, which are found after training.
    pub fn calibrate(&mut self, head: usize, temperature: f32, thresholds: Vec<f32>) {
        let spec = &mut self.heads[head].spec;
        spec.temperature = temperature;
        spec.thresholds = thresholds;
    }

    /// The current weights of head `head`.
    pub fn head_weights(&self, head: usize) -> HeadWeights {
        self.heads[head].weights(&self.store)
    }

    /// Runs the encoder and the active heads. The logits are in `pass`.
    ///
    /// - `active`: one flag per head
    ///
    /// # Panics
    /// If an id lies outside the vocabulary or a sequence is longer than the
    /// position table. Callers check both.
    pub fn forward(
        &self,
        cpu: Cpu,
        input: &NetworkInput,
        mode: Mode,
        depth: &Depth,
        active: &[bool],
        pass: &mut Pass,
    ) {
        let stream = DropoutStream::from_mode(mode);
        pass.begin(self, input, stream, active);
        let cached_from = match mode {
            Mode::Evaluate => depth.top,
            Mode::Train { .. } => depth.start,
        };
        if depth.embeddings && stream.is_training() {
            self.embed_train(cpu, input, pass);
        } else {
            self.frozen_layers(cpu, input, depth, cached_from, pass);
        }
        for index in cached_from..depth.top {
            let (below, above) = pass.states.split_at_mut(index + 1);
            above[0].resize(below[index].len());
            let layer_pass = self.layer_pass(cpu, input, &pass.tokens, stream);
            let (cache, scratch) = (&mut pass.layers[index], &mut pass.scratch);
            let (x, out) = (&below[index], &mut above[0]);
            self.layers[index].forward(layer_pass, index, x, cache, scratch, out);
        }
        for (index, head) in self.heads.iter().enumerate() {
            if active[index] {
                self.head_input(cpu, head, input, index, pass);
                head.forward(cpu, stream, &mut pass.heads[index]);
            }
        }
    }

    /// Adds the gradients of the trained parameters, from the gradients of the logits in `pass`.
    ///
    /// `depth` and `input` are those of the forward before, which ran in [`Mode::Train`];
    /// [`prepare_backward`](Self::prepare_backward) was called for this depth. Several backward
    /// passes may follow one forward, with other gradients of the logits.
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
            let cache = &pass.heads[index];
            let dx = head.backward(cpu, stream, cache, wanted, gradients);
            if !wanted {
                continue;
            }
            if !head.spec.reads_sentence_vector() {
                self.add_to_states(cpu, head, input, lowest, &dx, pass, gradients);
            } else if dvectors.is_empty() {
                dvectors = dx;
            } else {
                cpu.add(&dx, &mut dvectors);
            }
        }
        if !dvectors.is_empty() {
            self.modules_backward(cpu, input, lowest, dvectors, pass, gradients);
        }
        self.encoder_backward(cpu, input, depth, lowest, pass, gradients);
    }

    /// The sentence vectors of the last pass, `[B, embedding]`, by the pooling and the modules of
    /// the model.
    ///
    /// # Panics
    /// If the pass did not reach the last layer.
    pub fn sentence_vectors(&self, cpu: Cpu, input: &NetworkInput, pass: &mut Pass) -> Vec<f32> {
        self.fill_sentence_vectors(cpu, input, pass);
        pass.sentence.vectors.clone()
    }
}

impl Network {
    /// Copies the parameters for which `changed` is true from the store into the packed weights.
    fn refresh(&mut self, cpu: Cpu, changed: &dyn Fn(usize) -> bool) {
        let Self { projection, distance_bias, layers, modules, heads, store, .. } = self;
        let entry = self.entries.distance_bias.filter(|entry| changed(*entry));
        if let (Some(entry), Some(bias)) = (entry, distance_bias) {
            *bias = distance_bias::by_distance(store.get(entry), self.config.longest_sequence());
        }
        if let Some(projection) = projection.as_mut().filter(|layer| changed(layer.weight.start)) {
            projection.refresh(store, cpu);
        }
        for layer in layers.iter_mut().filter(|layer| layer.is_trainable(changed)) {
            layer.refresh(store, cpu);
        }
        modules.iter_mut().for_each(|module| module.refresh(store, cpu));
        heads.iter_mut().for_each(|head| head.refresh(store, cpu));
    }
}

impl NetworkOptions {
    /// The number of encoder layers, checked.
    fn layer_count(&self, config: &EncoderConfig) -> Result<usize, Error> {
        let chosen = &self.chosen_layers;
        let count = config.layers;
        if !chosen.is_empty() {
            let ascending = chosen.windows(2).all(|pair| pair[0] < pair[1]);
            return match chosen.iter().all(|layer| *layer < count) && ascending {
                true => Ok(chosen.len()),
                false => fail!(
                    Option,
                    "layers: expected layers from 0 to {} in ascending order, found {chosen:?}",
                    count - 1
                ),
            };
        }
        match self.layers {
            None => Ok(config.layers),
            Some(layers) if (1..=config.layers).contains(&layers) => Ok(layers),
            Some(layers) => {
                let message = format!("layers: expected 1 to {}, found {layers}", config.layers);
                Err(Error::new(ErrorKind::Option, message))
            }
        }
    }
}

/// Checks that each layer of a folder has the tensors of every other one, so that any can stand in
/// any place: of some architectures the first or the last one has others.
fn check_equal_layers(folder: &ModelFolder) -> Result<(), Error> {
    let shapes = |layer: usize| {
        let group = ParameterGroup::Layer(layer);
        let of_layer = folder.parameters.iter().filter(move |parameter| parameter.group == group);
        of_layer.map(|parameter| &parameter.shape).collect::<Vec<_>>()
    };
    match (1..folder.config.layers).find(|layer| shapes(*layer) != shapes(0)) {
        None => Ok(()),
        Some(other) => fail!(
            Option,
            "layers: expected their number, as layers 0 and {other} of this model have other \
             tensors, found a list"
        ),
    }
}

/// The tensors of the encoder that a network keeps, in the order in which [`EncoderTensors::specs`]
/// visits their places. The chosen layers take the places of the first ones.
///
/// - `config`: that of the network
fn kept_parameters<'a>(
    folder: &'a ModelFolder,
    config: &EncoderConfig,
    options: &NetworkOptions,
) -> Vec<&'a Parameter> {
    let of = |group: ParameterGroup| {
        folder.parameters.iter().filter(move |parameter| parameter.group == group)
    };
    let first: Vec<usize> = (0..config.layers).collect();
    let layers = if options.chosen_layers.is_empty() { &first } else { &options.chosen_layers };
    let mut kept: Vec<&Parameter> = of(ParameterGroup::Embeddings).collect();
    kept.extend(layers.iter().flat_map(|layer| of(ParameterGroup::Layer(*layer))));
    // The final norm is in the group of the last layer.
    let last = folder.config.layers - 1;
    if config.family.tensors.final_norm.is_some() && !layers.contains(&last) {
        let tensors = 1 + usize::from(config.biases.norm);
        let of_last: Vec<&Parameter> = of(ParameterGroup::Layer(last)).collect();
        kept.extend(&of_last[of_last.len() - tensors..]);
    }
    kept
}

/// Appends the tensors of the encoder to `store` and returns their entries by role.
fn push_encoder(
    store: &mut ParameterStore,
    folder: &ModelFolder,
    config: &EncoderConfig,
    options: &NetworkOptions,
) -> EncoderTensors<usize> {
    let random = options.random;
    let mut stored = kept_parameters(folder, config, options).into_iter();
    EncoderTensors::specs(config).map(|spec| {
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
        parameter.tensor.release();
        entry
    })
}
