//! The positions of a layer beside those of the embeddings: rotary positions, and the window of
//! its attention.

use std::sync::Arc;

use polyhead_compute::RotaryTable;

use crate::encoder::EncoderConfig;

/// Rotary positions, and layers that attend to a window only: ModernBERT.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// The base of the angles in layers that attend to the whole sequence.
    pub global_base: f32,
    /// The base of the angles in layers with a window.
    pub local_base: f32,
    /// The largest distance of a token to which a token attends in layers with a window.
    pub window: usize,
    /// `[L]`: true for each layer that attends to the whole sequence.
    pub global_layers: Vec<bool>,
}

/// The positions of one layer.
#[derive(Clone, Default)]
pub(crate) struct LayerPositions {
    /// The angles by which queries and keys are turned, if they are.
    pub(crate) rotary: Option<Arc<RotaryTable>>,
    /// The largest distance of a key; `None` if queries attend to the whole sequence.
    pub(crate) window: Option<usize>,
}

impl EncoderConfig {
    /// The positions of each layer. Layers share the tables of their angles.
    pub(crate) fn layer_positions(&self) -> Vec<LayerPositions> {
        let Some(rotary) = &self.rotary else {
            return vec![LayerPositions::default(); self.layers];
        };
        let table =
            |base| Some(Arc::new(RotaryTable::new(self.head_size(), base, self.max_positions)));
        let global = LayerPositions { rotary: table(rotary.global_base), window: None };
        let same = rotary.local_base == rotary.global_base;
        let local = LayerPositions {
            rotary: if same { global.rotary.clone() } else { table(rotary.local_base) },
            window: Some(rotary.window),
        };
        let of_layer = |is_global: &bool| if *is_global { global.clone() } else { local.clone() };
        rotary.global_layers.iter().take(self.layers).map(of_layer).collect()
    }
}
