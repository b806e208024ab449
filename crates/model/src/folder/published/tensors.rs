//! The tensors of a classifier, among those of its encoder.

use polyhead_files::listed;

use super::{Published, without_classifier};
use crate::encoder::{Parameter, ParameterGroup, TensorKind, TensorSpec};
use crate::error::{Error, fail};
use crate::folder::checkpoint::TensorTable;
use crate::heads::{HeadDims, HeadWeights};

impl Published {
    /// The name of a tensor in the checkpoint, without the prefix of the model.
    ///
    /// - `part`: its name after `heads.NAME.`
    pub(crate) fn tensor_name(&self, part: &str) -> String {
        let hidden = self.form.hidden.as_ref();
        let norm = hidden.and_then(|hidden| hidden.norm.as_ref());
        let layers = [
            ("hidden.norm.", norm.map_or("", |norm| norm.name)),
            ("hidden.", hidden.map_or("", |hidden| hidden.dense)),
            ("", self.form.output),
        ];
        let named = |(ours, theirs)| Some(format!("{theirs}.{}", part.strip_prefix(ours)?));
        layers.into_iter().find_map(named).expect("the last layer has every part")
    }

    /// Takes the head and its part of the tensor index out of the checkpoint.
    ///
    /// - `file`: name of the checkpoint in messages
    ///
    /// # Errors
    /// The tensors that are missing, of another shape, or not finite.
    pub(crate) fn take(
        &self,
        table: &mut TensorTable,
        file: &str,
        dims: &HeadDims,
    ) -> Result<(HeadWeights, Vec<Parameter>), Error> {
        let spec = &self.spec;
        self.check_rows(table).map_err(|error| without_classifier(error, &self.file))?;
        let (mut parameters, mut missing) = (Vec::new(), Vec::new());
        for (part, shape, _) in spec.tensors(dims) {
            let (name, group) = (self.tensor_name(part), ParameterGroup::Head(0));
            let kind = TensorKind::Weight;
            match table.take(&TensorSpec { name, shape, group, kind })? {
                Some(found) => {
                    let name = format!("heads.{}.{part}", spec.name);
                    parameters.push(Parameter { name, ..found });
                }
                None => missing.push(self.tensor_name(part)),
            }
        }
        let checked = || {
            if !missing.is_empty() {
                fail!(Format, "missing tensors of the classifier: {}", listed(&missing));
            }
            let mut values = Vec::new();
            for Parameter { name, tensor, .. } in &parameters {
                let numbers = tensor.to_vec();
                if let Some(number) = numbers.iter().find(|x| !x.is_finite()) {
                    fail!(NotFinite, "tensor `{name}`: expected finite numbers, found {number}");
                }
                values.push(numbers);
            }
            Ok(HeadWeights::from_values(spec.clone(), values))
        };
        let head = checked().map_err(|error| without_classifier(error, file))?;
        Ok((head, parameters))
    }

    /// Checks that there are as many labels as rows of the output layer.
    fn check_rows(&self, table: &TensorTable) -> Result<(), Error> {
        let (name, expected) = (self.tensor_name("weight"), self.spec.outputs());
        match table.shape(&name) {
            Some([rows, _]) if *rows != expected => fail!(
                Format,
                "`id2label`: expected {rows} labels, one for each row of tensor `{name}`, found \
                 {expected}"
            ),
            _ => Ok(()),
        }
    }

    /// The names of all tensors of the classifier in the checkpoint, without the prefix of the model.
    pub(crate) fn names(&self, dims: &HeadDims) -> Vec<String> {
        self.spec.tensors(dims).iter().map(|(part, ..)| self.tensor_name(part)).collect()
    }
}
