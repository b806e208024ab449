//! Memory: numbers in files that are converted where they are read, and aligned buffers.

mod buffer;
mod stored;

pub use buffer::Buffer;
pub use stored::{Bytes, StoredTensor, StoredType};
