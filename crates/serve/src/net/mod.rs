//! The network: connections, slow clients, the memory that requests share, and reading bodies.

pub(crate) mod body;
pub(crate) mod memory;
pub(crate) mod phases;
pub(crate) mod server;

pub use server::{Server, Stopped};
