//! The flags of TLS, and SIGHUP, which reads the files behind them again.
//!
//! Relates to: `gantline::server::TlsServerOptions`, which they set and which says more. Leaves out: looking whether
//! the files have changed, which is the library's.

use std::{io, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, value_parser};
#[cfg(feature = "pfx")]
use gantline::server::KeyPassword;
use gantline::{
    RunningServer, Server,
    server::{Certificates, ClientCertificates, PrivateKey, TlsIdentity, TlsServerOptions},
};

/// TLS of `mqtts://` and `wss://` listeners.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS", group = identity())]
pub(crate) struct Tls {
    /// The server's certificate and those that lead to its CA, PEM or DER; for mqtts:// and wss:// listeners. On Unix,
    /// SIGHUP reads the files of TLS again
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of the certificate, PEM or DER
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// The password of the private key is in this file
    #[cfg(feature = "pfx")]
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) key_password_file: Option<PathBuf>,

    /// The server's certificate, those that lead to its CA, and the private key in one file, PKCS#12; instead of
    /// --cert and --key
    #[cfg(feature = "pfx")]
    #[arg(long, value_name = "FILE")]
    pub(crate) pfx: Option<PathBuf>,

    /// The password of the PKCS#12 file is in this file [default: no password]
    #[cfg(feature = "pfx")]
    #[arg(long, value_name = "FILE", requires = "pfx")]
    pub(crate) pfx_password_file: Option<PathBuf>,

    /// Look that often whether the files of TLS have changed, and read them again
    #[arg(long, value_name = "SECONDS", requires = "identity", value_parser = value_parser!(u64).range(1..))]
    pub(crate) watch_certificates: Option<u64>,

    /// Ask clients for certificates and trust those of this CA; clients without one are let in
    #[arg(long, value_name = "FILE", requires = "identity")]
    pub(crate) client_ca: Option<PathBuf>,

    /// Let no client in that has no certificate of the client CA
    #[arg(long, requires = "client_ca")]
    pub(crate) require_client_cert: bool,
}

/// What says who the server is: one of these.
fn identity() -> ArgGroup {
    let group = ArgGroup::new("identity").arg("cert");
    if cfg!(feature = "pfx") { group.arg("pfx") } else { group }
}

impl Tls {
    /// Whether there is TLS at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.identity().is_some()
    }

    /// Gives the server what the flags say.
    pub(crate) fn apply(&self, server: Server) -> Server {
        let Some(identity) = self.identity() else { return server };
        let mut options = TlsServerOptions::with_identity(identity);
        if let Some(ca) = &self.client_ca {
            let wanted = if self.require_client_cert {
                ClientCertificates::Required
            } else {
                ClientCertificates::Optional
            };
            options = options.client_ca(Certificates::file(ca)).client_certificates(wanted);
        }
        if let Some(seconds) = self.watch_certificates {
            options = options.watch_files(Duration::from_secs(seconds));
        }
        server.tls(options)
    }

    fn identity(&self) -> Option<TlsIdentity> {
        #[cfg(feature = "pfx")]
        if let Some(pfx) = &self.pfx {
            let password = self.pfx_password_file.as_ref().map_or_else(|| "".into(), KeyPassword::file);
            return Some(TlsIdentity::pfx_file(pfx, password));
        }
        // The command line takes both or neither.
        let key = PrivateKey::file(self.key.as_ref()?);
        #[cfg(feature = "pfx")]
        let key = match &self.key_password_file {
            Some(password) => key.password(KeyPassword::file(password)),
            None => key,
        };
        Some(TlsIdentity::new(Certificates::file(self.cert.as_ref()?), key))
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
