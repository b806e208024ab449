//! `heads.safetensors`: the weights of the heads, always f32.
//!
//! Names are `heads.NAME.weight`, `.bias`, `.hidden.weight`, `.hidden.bias`,
//! `.hidden.norm.weight`, `.hidden.norm.bias` and `.mix`; the [`HeadSpec`] of a head says which of them it has. Shapes are checked
//! against it before numbers are read.

use polyhead_files::listed;
use polyhead_files::safetensors::Tensor;

use crate::encoder::{Parameter, ParameterGroup};
use crate::error::{Error, ErrorKind};
use crate::folder::polyhead_json;
use crate::folder::source::Source;
use crate::folder::tensor_file::TensorFile;
use crate::heads::HeadSpec;
use crate::heads::{HeadDims, HeadWeights};

/// The file's name.
pub(crate) const FILE: &str = "heads.safetensors";

/// The heads of a model, as read from the file.
#[derive(Default)]
pub(crate) struct Heads {
    pub(crate) heads: Vec<HeadWeights>,
    /// The entries of the tensor index for the heads.
    pub(crate) parameters: Vec<Parameter>,
}

/// Reads the weights of the heads that `polyhead.json` lists.
pub(crate) fn read(source: &Source, specs: &[HeadSpec], dims: &HeadDims) -> Result<Heads, Error> {
    let mut heads = Heads::default();
    let file = source.describe(FILE);
    let fail = |kind, problem: String| Err(Error::new(kind, format!("{file}: {problem}")));
    let Some(bytes) = source.bytes(FILE)? else {
        if specs.is_empty() {
            return Ok(heads);
        }
        let tasks = specs.len();
        let problem = format!("no such file, but {} lists {tasks} tasks", polyhead_json::FILE);
        return fail(ErrorKind::Format, problem);
    };
    let mut found = TensorFile::open(&file, &bytes)?.tensors;
    let mut missing = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let mut values = Vec::new();
        for (part, shape, _) in spec.tensors(dims) {
            let name = format!("heads.{}.{part}", spec.name);
            let Some(tensor) = found.remove(&name) else {
                missing.push(name);
                continue;
            };
            tensor.expect_shape(&name, &shape)?;
            let stored = tensor.float(&name)?;
            let numbers = stored.to_vec();
            if let Some(number) = numbers.iter().find(|x| !x.is_finite()) {
                let problem = format!("tensor `{name}`: expected finite numbers, found {number}");
                return fail(ErrorKind::NotFinite, problem);
            }
            values.push(numbers);
            heads.parameters.push(Parameter::new(name, ParameterGroup::Head(index), stored));
        }
        if missing.is_empty() {
            heads.heads.push(HeadWeights::from_values(spec.clone(), values));
        }
    }
    if !missing.is_empty() {
        return fail(ErrorKind::Format, format!("missing tensors: {}", listed(&missing)));
    }
    // A tensor without a task means that the two files belong to different models.
    if !found.is_empty() {
        let names: Vec<String> = found.into_keys().collect();
        return fail(ErrorKind::Format, format!("unexpected tensors: {}", listed(&names)));
    }
    Ok(heads)
}

/// The tensors of `heads`, with their names in the file.
///
/// # Errors
/// [`ErrorKind::Option`] if weights do not fit the specification of a head.
pub(crate) fn tensors<'a>(
    heads: &'a [HeadWeights],
    dims: &HeadDims,
) -> Result<Vec<(String, Tensor<'a>)>, Error> {
    let mut tensors = Vec::new();
    for head in heads {
        head.check(dims)?;
        for ((part, shape, _), values) in head.spec.tensors(dims).into_iter().zip(head.values()) {
            let name = format!("heads.{}.{part}", head.spec.name);
            tensors.push((name, Tensor { shape, values: values.into() }));
        }
    }
    Ok(tensors)
}
