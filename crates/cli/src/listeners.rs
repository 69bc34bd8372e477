//! The flags that say where to listen, and how.
//!
//! Relates to: `gantline::transport::BindOptions`, which they set and which says more. Leaves out: TLS, which has flags
//! of its own.

use clap::Args;
use gantline::{
    Address, Server,
    server::{BindOptions, Network, ProxyProtocol},
    transport::Scheme,
};

/// Where to listen, and what is special about some of the listeners.
#[derive(Debug, Args)]
pub(crate) struct Listeners {
    /// Where to listen: mqtt://, mqtts://, ws://, wss:// or unix:///path; may be given more than once. Port 0
    /// takes a free one; the file of a Unix socket is removed at the end
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    listen: Vec<Address>,

    /// A network of load balancers that say by the PROXY protocol (version 1 or 2) for whom they connect, such
    /// as 10.0.7.0/24; may be given more than once. For all listeners but Unix sockets. From there the header
    /// is required, connections from elsewhere count as direct ones
    #[arg(long, value_name = "NETWORK")]
    proxy_protocol_from: Vec<Network>,

    /// The permissions of the files of Unix sockets, in octal, such as 660 [default: as for new files]
    #[arg(long, value_name = "MODE", value_parser = octal)]
    socket_mode: Option<u32>,
}

impl Listeners {
    /// Gives the server what the flags say.
    pub(crate) fn apply(&self, mut server: Server) -> Server {
        let is_unix = |address: &Address| address.scheme() == Scheme::Unix;
        // A flag that fits no listener is given to all, so that it is refused and not overlooked.
        let no_unix = !self.listen.iter().any(is_unix);
        let all_unix = self.listen.iter().all(is_unix);
        for address in &self.listen {
            let balancers = (!self.proxy_protocol_from.is_empty() && (all_unix || !is_unix(address)))
                .then(|| ProxyProtocol::from_networks(self.proxy_protocol_from.clone()));
            let mode = self.socket_mode.filter(|_| no_unix || is_unix(address));
            server = server.listen_with(address.clone(), move |options: BindOptions| {
                let options = options.socket_mode(mode);
                match balancers {
                    Some(balancers) => options.proxy_protocol(balancers),
                    None => options,
                }
            });
        }
        server
    }
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && !text.starts_with('+') => Ok(mode),
        _ => Err("write permissions in octal, from 000 to 777".to_owned()),
    }
}
