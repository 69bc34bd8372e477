//! The flags of TLS, and SIGHUP, which reads the files behind them again.
//!
//! Relates to: `gantline::server::TlsServerOptions`, which they set. Leaves out: watching the files; who renews a
//! certificate sends the signal.

use std::{io, path::PathBuf};

use clap::Args;
use gantline::{
    RunningServer, Server,
    server::{Certificates, ClientCertificates, PrivateKey, TlsServerOptions},
};

/// TLS of `mqtts://` listeners.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct Tls {
    /// The server's certificate and those that lead to its CA, PEM or DER; for mqtts:// listeners. On Unix,
    /// SIGHUP reads the files of TLS again
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of the certificate, PEM or DER, without a password
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Ask clients for certificates and trust those of this CA; clients without one are let in
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) client_ca: Option<PathBuf>,

    /// Let no client in that has no certificate of the client CA
    #[arg(long, requires = "client_ca")]
    pub(crate) require_client_cert: bool,
}

impl Tls {
    /// Gives the server what the flags say.
    pub(crate) fn apply(&self, server: Server) -> Server {
        // The command line takes both or neither.
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return server };
        let mut options = TlsServerOptions::new(Certificates::file(cert), PrivateKey::file(key));
        if let Some(ca) = &self.client_ca {
            let wanted = if self.require_client_cert {
                ClientCertificates::Required
            } else {
                ClientCertificates::Optional
            };
            options = options.client_ca(Certificates::file(ca)).client_certificates(wanted);
        }
        server.tls(options)
    }
}

/// The signal that files have changed.
pub(crate) struct Renewals(#[cfg(unix)] tokio::signal::unix::Signal);

impl Renewals {
    /// From here on SIGHUP no longer ends the process. Needs a runtime.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::hangup()).map(Self)
    }

    /// There is no such signal here.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self())
    }

    /// Reloads the certificates of `server` at each signal, for ever.
    pub(crate) async fn follow(&mut self, server: &RunningServer) {
        #[cfg(unix)]
        while let (Some(()), Some(tls)) = (self.0.recv().await, server.tls().cloned()) {
            let reload = tokio::task::spawn_blocking(move || tls.reload_from_files());
            match reload.await {
                Ok(Ok(())) => tracing::info!("the files of TLS were read again"),
                Ok(Err(error)) => tracing::error!(%error, "TLS goes on with what it had"),
                Err(error) => tracing::error!(%error, "the files of TLS could not be read"),
            }
        }
        let _ = server;
        std::future::pending().await
    }
}
