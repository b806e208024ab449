//! The network: connections, slow clients, the memory that requests share, and reading bodies.

mod server;
mod phases;
pub(crate) mod memory;
pub(crate) mod body;

pub use server::{Server, ShutdownReport};
