//! The multi-task network in training: one encoder, any number of heads, forward
//! and backward by hand.
//!
//! [`Network`] owns the numbers ([`ParameterStore`]) and packed copies of them;
//! a [`Pass`] holds what one forward leaves for its backward. What is trained is
//! said by the [`Gradients`] that a caller brings: [`Network::depth`] tells how
//! far down a backward has to go, and what lies below runs as in answering,
//! without dropout, keeping nothing.

use polyhead_compute::{Cpu, Isa, Random, Threads};

use crate::encoder::{EncoderConfig, EncoderTensors, ParameterGroup, Sequences, TensorKind};
use crate::error::Error;
use crate::folder::ModelFolder;
use crate::heads::{HeadDims, HeadSpec, HeadWeights, INITIAL_DEVIATION};
use crate::modules::{Module, PoolingSpec};
use crate::training::depth::Depth;
use crate::training::dropout::{DropoutStream, Mode};
use crate::training::gradients::Gradients;
use crate::training::head::TrainableHead;
use crate::training::layer::{LayerPass, TrainableLayer};
use crate::training::module::TrainableModule;
use crate::training::pass::Pass;
use crate::training::store::ParameterStore;

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

impl Network {
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
