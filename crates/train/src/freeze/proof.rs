//! Hashes of frozen tensors, before and after training.

use polyhead_model::ParameterStore;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};

/// Hashes of the tensors that must not change.
#[derive(Clone, Debug)]
pub struct FrozenTensors {
    /// Index of each entry and SHA-256 of its values.
    hashes: Vec<(usize, [u8; 32])>,
    parameters: usize,
}

impl FrozenTensors {
    /// Hashes the entries of `store` that `frozen` marks.
    pub fn new(store: &ParameterStore, frozen: &[bool]) -> Self {
        let marked = || frozen.iter().enumerate().filter(|(_, frozen)| **frozen).map(|(i, _)| i);
        Self {
            hashes: marked().map(|index| (index, hash(store.get(index)))).collect(),
            parameters: marked().map(|index| store.get(index).len()).sum(),
        }
    }

    /// Compares with `store` after the last step of a run; returns a line for the report.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] with the names of tensors that changed. That is a bug of Polyhead, but
    /// users must know of it.
    pub fn verify(&self, store: &ParameterStore) -> Result<String, Error> {
        self.compare(store)?;
        if self.hashes.is_empty() {
            return Ok("no parameters were frozen for the whole run".to_owned());
        }
        let (digest, size) = (self.digest(), self.size());
        Ok(format!("frozen parameters unchanged: {size}, SHA-256 {}…", &digest[..16]))
    }

    /// The same as [`verify`](Self::verify), for tensors that were frozen in these steps only;
    /// `None` if there were none.
    ///
    /// # Errors
    /// The same as for [`verify`](Self::verify).
    pub fn verify_steps(
        &self,
        store: &ParameterStore,
        first: u64,
        last: u64,
    ) -> Result<Option<String>, Error> {
        self.compare(store)?;
        let steps = format!("steps {first}–{last} ({})", self.size());
        Ok((!self.hashes.is_empty()).then_some(steps))
    }

    /// Size of the frozen part: `4 tensors, 3.1 M parameters`.
    fn size(&self) -> String {
        let (tensors, parameters) = (self.hashes.len(), super::short(self.parameters));
        format!("{tensors} tensor{}, {parameters} parameters", if tensors == 1 { "" } else { "s" })
    }

    fn compare(&self, store: &ParameterStore) -> Result<(), Error> {
        let changed: Vec<&str> = self
            .hashes
            .iter()
            .filter(|(index, before)| hash(store.get(*index)) != *before)
            .map(|(index, _)| store.entries()[*index].name.as_str())
            .collect();
        if !changed.is_empty() {
            let message = format!(
                "expected frozen parameters to stay as they were, found changes in {} of {}: {}",
                changed.len(),
                self.hashes.len(),
                changed[..changed.len().min(10)].join(", ")
            );
            return Err(Error::new(ErrorKind::Run, message));
        }
        Ok(())
    }

    /// SHA-256 over all hashes, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut all = Sha256::new();
        for (_, hash) in &self.hashes {
            all.update(hash);
        }
        polyhead_files::hex(all.finalize())
    }
}

/// SHA-256 of the values, each as four little-endian bytes.
fn hash(values: &[f32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut bytes = Vec::with_capacity(1 << 14);
    for chunk in values.chunks(1 << 12) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{phase, plan, store};
    use super::*;

    #[test]
    fn a_change_of_any_bit_is_named() {
        let mut store = store();
        let frozen = plan(&[phase("embeddings layers.0", None, None)]).always_frozen();
        let before = FrozenTensors::new(&store, &frozen);
        let line = before.verify(&store).unwrap();
        assert!(line.starts_with("frozen parameters unchanged: 4 tensors, 220 parameters, "));

        // A trained tensor may change.
        let trained = store.entries()[5].range.start;
        store.values_mut()[trained] += 1.0;
        assert_eq!(before.verify(&store).unwrap(), line);

        // A changed sign of zero counts too.
        let bias = store.entries()[3].range.end - 1;
        store.values_mut()[bias] = 0.0;
        let before = FrozenTensors::new(&store, &frozen);
        store.values_mut()[bias] = -0.0;
        let error = before.verify(&store).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Run);
        assert!(error.to_string().ends_with("in 1 of 4: encoder layer 0 bias"), "{error}");
    }

    #[test]
    fn what_was_frozen_for_some_steps_is_compared_too() {
        let mut store = store();
        let frozen = plan(&[phase("embeddings", None, None)]).always_frozen();
        let before = FrozenTensors::new(&store, &frozen);
        let line = before.verify_steps(&store, 3, 7).unwrap();
        assert_eq!(line.as_deref(), Some("steps 3–7 (2 tensors, 110 parameters)"));
        store.values_mut()[0] += 1.0;
        assert_eq!(before.verify_steps(&store, 3, 7).unwrap_err().kind(), ErrorKind::Run);
        let none = FrozenTensors::new(&store, &vec![false; frozen.len()]);
        assert_eq!(none.verify_steps(&store, 3, 7).unwrap(), None);
    }

    #[test]
    fn nothing_frozen_says_so() {
        let store = store();
        let none = FrozenTensors::new(&store, &vec![false; store.entries().len()]);
        assert_eq!(none.verify(&store).unwrap(), "no parameters were frozen for the whole run");
    }

    #[test]
    fn the_hash_is_of_the_bytes() {
        // python: hashlib.sha256(struct.pack("<2f", 1, -2)).hexdigest()
        let expected = "ee4ac73c2bd27756ab82780f27c73a7bc4d3f0bb6acb37e008bc27eccd7e588b";
        let found = polyhead_files::hex(hash(&[1.0, -2.0]));
        assert_eq!(found, expected);
    }

    #[test]
    fn long_tensors_are_hashed_whole() {
        let mut values = vec![0.5; 3 * (1 << 12) + 7];
        let before = hash(&values);
        *values.last_mut().unwrap() = 0.25;
        assert_ne!(hash(&values), before);
    }
}
