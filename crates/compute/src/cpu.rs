//! The one handle through which every operation is called.

use crate::linear::int8::kernel::Int8Isa;
use crate::simd::Isa;
use crate::threads::{Team, Threads};

/// The processor as operations use it: a team of threads and the instruction sets.
///
/// Its methods are all operations that an encoder, its heads and their training are made of,
/// each beside its vector code and its plain loops (`…_reference`). They take slices and sizes;
/// nothing that calls them knows threads or instructions.
///
/// | operations | methods |
/// |---|---|
/// | memory | [`set_zero`](Self::set_zero) |
/// | weights | [`pack`](Self::pack), [`pack_int8`](Self::pack_int8), [`repack`](Self::repack), [`repack_transposed`](Self::repack_transposed) |
/// | linear layers | [`linear`](Self::linear), [`linear_train`](Self::linear_train), [`input_gradient`](Self::input_gradient), [`weight_gradient`](Self::weight_gradient), [`close_weight_gradient`](Self::close_weight_gradient), [`bias_gradient`](Self::bias_gradient) |
/// | linear layers in 8 bits | [`quantize_rows`](Self::quantize_rows), [`layer_norm_quantizing`](Self::layer_norm_quantizing), [`int8_linear`](Self::int8_linear), [`int8_linear_quantizing`](Self::int8_linear_quantizing) |
/// | attention | [`attention`](Self::attention), [`attention_backward`](Self::attention_backward) |
/// | rotary positions | [`rotate`](Self::rotate), [`rotate_backward`](Self::rotate_backward) |
/// | layer normalization | [`layer_norm`](Self::layer_norm), [`layer_norm_to`](Self::layer_norm_to), [`residual_layer_norm`](Self::residual_layer_norm), [`layer_norm_backward`](Self::layer_norm_backward) |
/// | embeddings | [`embed`](Self::embed), [`embed_backward`](Self::embed_backward) |
/// | pooling | [`pool`](Self::pool), [`pool_backward`](Self::pool_backward) |
/// | row vectors | [`gather_rows`](Self::gather_rows), [`gather_rows_backward`](Self::gather_rows_backward), [`add`](Self::add), [`copy`](Self::copy), [`add_scaled`](Self::add_scaled), [`dot`](Self::dot), [`normalize`](Self::normalize), [`normalize_backward`](Self::normalize_backward), [`map_rows`](Self::map_rows) |
/// | activations | [`activation`](Self::activation), [`activation_backward`](Self::activation_backward) |
/// | gated activations | [`gate`](Self::gate), [`gated_linear`](Self::gated_linear), [`gate_backward`](Self::gate_backward) |
/// | dropout | [`dropout`](Self::dropout), [`dropout_to`](Self::dropout_to) |
/// | optimizer | [`adamw`](Self::adamw), [`adamw_rows`](Self::adamw_rows), [`sum_of_squares`](Self::sum_of_squares), [`sum_of_products`](Self::sum_of_products) |
#[derive(Clone, Copy)]
pub struct Cpu<'a> {
    pub(crate) team: &'a Team,
    pub(crate) isa: Isa,
    pub(crate) int8: Int8Isa,
}

impl<'a> Cpu<'a> {
    /// Operations run on these threads with these instructions, those in 8 bits with the fastest
    /// integer products of the processor.
    pub fn new(team: &'a Team, isa: Isa) -> Self {
        Self { team, isa, int8: Int8Isa::detect() }
    }

    /// The same handle with other integer products.
    pub fn with_int8(self, int8: Int8Isa) -> Self {
        Self { int8, ..self }
    }

    /// The instruction set of operations in floating point.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// The instruction set of integer products.
    pub fn int8_isa(self) -> Int8Isa {
        self.int8
    }
}

impl Threads {
    /// Gathers the threads for as long as `work` runs on the calling one, and gives it the handle
    /// on them.
    pub fn cpu<R>(&self, isa: Isa, work: impl FnOnce(Cpu) -> R) -> R {
        self.team(|team| work(Cpu::new(team, isa)))
    }
}
