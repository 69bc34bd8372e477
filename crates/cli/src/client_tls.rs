//! The flags of TLS for whatever connects to a broker.
//!
//! Relates to: `gantline::TlsClientOptions`, which they set and which says more; `tls.rs`, the flags of the other end.
//! Leaves out: whether the URL is one of TLS.

use std::path::PathBuf;

use clap::Args;
use gantline::{Certificates, PrivateKey, TlsClientOptions};

/// TLS of connections to `mqtts://` and `wss://` URLs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct ClientTls {
    /// Trust the CAs in this file, PEM or DER, and no others; for mqtts:// and wss:// URLs [default: the CAs of
    /// Mozilla]
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,

    /// Our own certificate and those that lead to its CA, PEM or DER, for brokers that ask for one
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of our certificate, PEM or DER
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// DANGER: accept any certificate. Whoever is on the way can then read and change everything, passwords included
    #[arg(long, conflicts_with = "cafile")]
    insecure: bool,
}

impl ClientTls {
    /// The first flag that was given: one that would be in vain without TLS.
    pub(crate) const fn given(&self) -> Option<&'static str> {
        match self {
            Self { cafile: Some(_), .. } => Some("--cafile"),
            Self { cert: Some(_), .. } => Some("--cert"),
            Self { insecure: true, .. } => Some("--insecure"),
            _ => None,
        }
    }

    /// Whether nobody checks who the broker is.
    pub(crate) const fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// What the flags say.
    pub(crate) fn options(&self) -> TlsClientOptions {
        let mut options = TlsClientOptions::default();
        if let Some(file) = &self.cafile {
            options = options.ca(Certificates::file(file));
        }
        // The command line takes both or neither.
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            options = options.client_certificate(Certificates::file(cert), PrivateKey::file(key));
        }
        if self.insecure { options.danger_accept_any_certificate() } else { options }
    }
}
