//! Memory: how much is left, numbers in files that are converted where they are read, and aligned buffers.

mod buffer;
mod limits;
mod stored;

pub use buffer::Buffer;
pub use limits::{MemoryShortage, check_memory};
pub use stored::{Bytes, StoredTensor, StoredType};
