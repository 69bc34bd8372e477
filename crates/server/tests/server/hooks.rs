//! Hooks: one file for each thing that they are asked about.

mod authorizing;
mod delivering;
mod publishing;
mod revoking;
mod stopping;
mod subscribing;

use gantline_server::{Server, ServerOptions};

fn build() -> Server {
    Server::new(ServerOptions::default())
}
