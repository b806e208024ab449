//! The folders of modules after the pooling: Dense, LayerNorm and Normalize.

use std::collections::BTreeMap;

use polyhead_compute::{Activation, StoredTensor};
use polyhead_files::listed;
use serde::Deserialize;
use serde_json::Value;

use crate::encoder::{Linear, Norm, Parameter, ParameterGroup};
use crate::error::{Error, ErrorKind, fail};
use crate::folder::checkpoint::SINGLE;
use crate::folder::source::{Source, joined};
use crate::folder::tensor_file::{FileTensor, TensorFile};
use crate::modules::{Module, Residual, torch_activation};

/// The largest width of a vector between modules. A file with a larger one is damaged.
const WIDTH_LIMIT: usize = 1 << 17;

/// The `eps` of a LayerNorm module: the default of `torch.nn.LayerNorm`, which it does not change.
const LAYER_NORM_EPS: f32 = 1e-5;

/// The name of the vector that modules read and write. No other name is supported.
const SENTENCE: &str = "sentence_embedding";

/// The folder of a module, and what its files are checked against.
pub(crate) struct ModuleFiles<'a> {
    pub(crate) source: &'a Source,
    /// Folder of the module inside the model folder.
    pub(crate) path: &'a str,
    /// Index of the module in [`ModelFolder::modules`](crate::ModelFolder::modules).
    pub(crate) index: usize,
    /// Width of the input of the module.
    pub(crate) width: usize,
}

/// `config.json` of a Dense module. Unknown keys are errors: they may change the result.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenseJson {
    in_features: u64,
    out_features: u64,
    #[serde(default = "default_bias")]
    bias: bool,
    #[serde(default = "default_activation")]
    activation_function: Value,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

fn default_bias() -> bool {
    true
}

fn default_activation() -> Value {
    Value::from("torch.nn.modules.activation.Tanh")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerNormJson {
    dimension: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NormalizeJson {
    module_input_name: Option<String>,
    module_output_name: Option<String>,
}

impl ModuleFiles<'_> {
    /// Reads a Dense module and its parameters.
    pub(crate) fn dense(&self) -> Result<(Module, Vec<Parameter>), Error> {
        let json: DenseJson = self.config()?;
        self.check_names(json.module_input_name, json.module_output_name)?;
        let activation = self.activation(&json.activation_function)?;
        let inputs = self.check_width("in_features", json.in_features)?;
        let outputs = self.check_size("out_features", json.out_features)?;

        let mut tensors = self.tensors()?;
        let weight = tensors.take("linear.weight", &[outputs, inputs])?;
        let bias = json.bias.then(|| tensors.take("linear.bias", &[outputs])).transpose()?;
        // Equal widths need no projection, as in `Dense.__init__`.
        let residual = if !json.use_residual {
            None
        } else if inputs == outputs {
            Some(Residual::Identity)
        } else {
            let weight = tensors.take("residual.weight", &[outputs, inputs])?;
            Some(Residual::Projection(Linear { weight, bias: None }))
        };
        let linear = Linear { weight, bias: bias.map(|bias| bias.to_vec()) };
        Ok((Module::Dense { linear, activation, residual }, tensors.finish()?))
    }

    /// Reads a LayerNorm module and its parameters.
    pub(crate) fn layer_norm(&self) -> Result<(Module, Vec<Parameter>), Error> {
        let json: LayerNormJson = self.config()?;
        let width = self.check_width("dimension", json.dimension)?;
        let mut tensors = self.tensors()?;
        let weight = tensors.take("norm.weight", &[width])?.to_vec();
        let bias = tensors.take("norm.bias", &[width])?.to_vec();
        let module = Module::LayerNorm { norm: Norm { weight, bias }, eps: LAYER_NORM_EPS };
        Ok((module, tensors.finish()?))
    }

    /// Reads a Normalize module. Its folder and its file may be absent.
    pub(crate) fn normalize(&self) -> Result<Module, Error> {
        let json: NormalizeJson = self.source.json(&self.file("config.json"))?.unwrap_or_default();
        self.check_names(json.module_input_name, json.module_output_name)?;
        Ok(Module::Normalize)
    }

    fn file(&self, name: &str) -> String {
        joined(self.path, name)
    }

    fn error(&self, kind: ErrorKind, problem: &str) -> Error {
        let file = self.source.describe(&self.file("config.json"));
        Error::new(kind, format!("{file}: {problem}"))
    }

    fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        self.source
            .json(&self.file("config.json"))?
            .ok_or_else(|| self.error(ErrorKind::Format, "no such file"))
    }

    /// Checks that a size of the configuration equals the width of the input.
    fn check_width(&self, key: &str, value: u64) -> Result<usize, Error> {
        if value == self.width as u64 {
            return Ok(self.width);
        }
        let problem = format!(
            "`{key}`: expected {}, the width of the module before, found {value}",
            self.width
        );
        Err(self.error(ErrorKind::Format, &problem))
    }

    /// Checks that a size of the configuration is within its limit.
    fn check_size(&self, key: &str, value: u64) -> Result<usize, Error> {
        match usize::try_from(value) {
            Ok(size) if (1..=WIDTH_LIMIT).contains(&size) => Ok(size),
            _ => {
                let problem = format!("`{key}`: expected 1 to {WIDTH_LIMIT}, found {value}");
                Err(self.error(ErrorKind::Format, &problem))
            }
        }
    }

    fn check_names(&self, input: Option<String>, output: Option<String>) -> Result<(), Error> {
        for (key, name) in [("module_input_name", input), ("module_output_name", output)] {
            if let Some(name) = name.filter(|name| name != SENTENCE) {
                let problem = format!("`{key}`: expected {SENTENCE}, found {name:?}");
                return Err(self.error(ErrorKind::Unsupported, &problem));
            }
        }
        Ok(())
    }

    fn activation(&self, class: &Value) -> Result<Activation, Error> {
        class.as_str().and_then(torch_activation).ok_or_else(|| {
            let problem = format!(
                "`activation_function`: expected Tanh, Identity, ReLU, GELU, SiLU or Sigmoid of \
                 torch.nn, found {class}"
            );
            self.error(ErrorKind::Unsupported, &problem)
        })
    }

    fn tensors(&self) -> Result<ModuleTensors, Error> {
        let name = self.file(SINGLE);
        let file = self.source.describe(&name);
        let Some(bytes) = self.source.bytes(&name)? else {
            return Err(self.no_weights());
        };
        Ok(ModuleTensors {
            found: TensorFile::open(&file, &bytes)?.tensors,
            file,
            path: self.path.to_owned(),
            group: ParameterGroup::Module(self.index),
            parameters: Vec::new(),
        })
    }

    fn no_weights(&self) -> Error {
        let folder = self.source.describe(self.path);
        if self.source.has(&self.file("pytorch_model.bin")) {
            let model = self.source.describe("");
            let message = format!(
                "{folder}: expected {SINGLE}, found pytorch_model.bin, which can run code when it is \
                 opened; to convert it, in Python:\n    from sentence_transformers import \
                 SentenceTransformer\n    SentenceTransformer({model:?}).save({:?})",
                format!("{model}-safetensors")
            );
            return Error::new(ErrorKind::Unsupported, message);
        }
        Error::new(ErrorKind::Format, format!("{folder}: no weights: expected {SINGLE}"))
    }
}

/// The tensors of a module that have not been taken yet, and the parameters made of the others.
struct ModuleTensors {
    file: String,
    path: String,
    group: ParameterGroup,
    found: BTreeMap<String, FileTensor>,
    parameters: Vec<Parameter>,
}

impl ModuleTensors {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<StoredTensor, Error> {
        let Some(tensor) = self.found.remove(name) else {
            fail!(Format, "{}: missing tensors: `{name}`", self.file);
        };
        tensor.expect_shape(name, shape)?;
        let stored = tensor.float(name)?;
        let full_name = joined(&self.path, name);
        self.parameters.push(Parameter::new(full_name, self.group, stored.clone()));
        Ok(stored)
    }

    /// The parameters of the module. Tensors that nothing has taken are an error, as in Python:
    /// the module does more than its configuration says.
    fn finish(self) -> Result<Vec<Parameter>, Error> {
        if self.found.is_empty() {
            return Ok(self.parameters);
        }
        let names: Vec<String> = self.found.into_keys().collect();
        fail!(Format, "{}: unexpected tensors: {}", self.file, listed(&names))
    }
}
