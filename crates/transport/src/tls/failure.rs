//! Why a TLS handshake failed, in words that say whose fault it is and what helps.
//!
//! Relates to: [`TlsOptionsError`](super::TlsOptionsError), which comes before the handshake. In TLS 1.3 a client is
//! done before the server has judged its certificate: then the failure comes out of the first read, as an [`io::Error`]
//! from which [`TlsFailure::of`] takes it.

use std::io;
use std::sync::Arc;

/// Why a TLS handshake failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The peer's certificate is too old: it has to be renewed. Or our clock is wrong.
    #[error("the certificate of the peer has expired: renew it there, or set the clock here")]
    Expired,
    /// The peer's certificate is for later. Most often our clock is wrong.
    #[error("the certificate of the peer is not valid yet: set the clock here, or replace it there")]
    NotValidYet,
    /// The peer's certificate is for another host: connect to a name that it has, or set the server name.
    #[error(
        "the certificate of the server is not for {expected} but for {presented}: connect to that name or set server_name"
    )]
    WrongHost {
        /// The name that was looked for.
        expected: String,
        /// The names in the certificate.
        presented: String,
    },
    /// Nobody whom we trust has signed the peer's certificate: trust its CA.
    #[error("the certificate of the peer is signed by nobody whom we trust: add its CA to the TLS options")]
    UnknownIssuer,
    /// The peer's certificate is wrong in another way.
    #[error("the certificate of the peer cannot be trusted: {0}")]
    BadCertificate(String),
    /// The callback of the options said no to a certificate that is correct otherwise.
    #[error("our callback does not accept the certificate of the peer")]
    RefusedByCallback,
    /// The client has to have a certificate and sent none. On a client: give it one.
    #[error(
        "a client certificate is required and none was sent: set client_certificate in the client's TLS options"
    )]
    ClientCertificateMissing,
    /// The peer does not accept our certificate.
    #[error("the peer refused our certificate: {alert}")]
    CertificateRefused {
        /// What it said.
        alert: String,
    },
    /// The peer refused for another reason.
    #[error("the peer refused the TLS handshake: {alert}")]
    Refused {
        /// What it said.
        alert: String,
    },
    /// A client sent MQTT without TLS: it should use `mqtts://`, or another port.
    #[error("the peer sent MQTT without TLS to a TLS port: it has to use mqtts://")]
    PlainMqtt,
    /// A client sent HTTP without TLS: it should use `wss://`, or another port.
    #[error("the peer sent HTTP without TLS to a TLS port: it has to use wss:// instead of ws://")]
    PlainHttp,
    /// What came is not TLS: the port is a plain one, say.
    #[error("the peer does not speak TLS: for a plain port, use mqtt:// or ws://")]
    NotTls,
    /// Version, cipher or application protocol: there is none that both ends want.
    #[error("both ends have nothing in common: {0}")]
    NothingInCommon(String),
    /// The peer closed in the middle of the handshake, as a plain MQTT server does.
    #[error(
        "the peer closed the connection in the TLS handshake: it may not speak TLS on this port, then use mqtt:// or ws://"
    )]
    Closed,
    /// The network failed.
    #[error("the connection failed in the TLS handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The peer broke the rules of TLS, or something else.
    #[error("the TLS handshake failed: {0}")]
    Other(String),
}

impl TlsFailure {
    /// The failure that an error of a [`Stream`](crate::Stream) is about, if it is one of TLS.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

#[cfg(feature = "tls")]
mod from_rustls {
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

    use super::{Arc, TlsFailure, io};
    use crate::error::peer_has_gone;

    impl TlsFailure {
        /// What an error of the handshake means.
        pub(crate) fn of_handshake(error: io::Error) -> Self {
            if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                return Self::from(inner);
            }
            if peer_has_gone(&error) { Self::Closed } else { Self::Io(Arc::new(error)) }
        }

        /// The same error of a connection that is open, in our words if TLS is at fault.
        pub(crate) fn explain(error: io::Error) -> io::Error {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                Some(inner) => io::Error::new(io::ErrorKind::InvalidData, Self::from(inner)),
                None => error,
            }
        }
    }

    impl From<&Error> for TlsFailure {
        fn from(error: &Error) -> Self {
            match error {
                Error::InvalidCertificate(error) => of_certificate(error),
                Error::NoCertificatesPresented => Self::ClientCertificateMissing,
                Error::AlertReceived(alert) => of_alert(*alert),
                Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
                Error::NoApplicationProtocol => {
                    Self::NothingInCommon("no application protocol (ALPN)".to_owned())
                }
                Error::PeerIncompatible(problem) => Self::NothingInCommon(format!("{problem:?}")),
                Error::Other(other) => match other.0.downcast_ref::<Self>() {
                    Some(failure) => failure.clone(),
                    None => Self::Other(other.to_string()),
                },
                error => Self::Other(error.to_string()),
            }
        }
    }

    fn of_certificate(error: &CertificateError) -> TlsFailure {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFailure::NotValidYet
            }
            CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
            CertificateError::NotValidForNameContext { expected, presented } => TlsFailure::WrongHost {
                expected: expected.to_str().into_owned(),
                presented: names(presented),
            },
            CertificateError::Other(other) => match other.0.downcast_ref::<TlsFailure>() {
                Some(failure) => failure.clone(),
                None => TlsFailure::BadCertificate(other.to_string()),
            },
            error => TlsFailure::BadCertificate(error.to_string()),
        }
    }

    /// The names in a certificate without the kinds of name that rustls puts around them, as in `DnsName("host")`.
    fn names(presented: &[String]) -> String {
        let bare = |name: &String| match name.split_once('(') {
            Some((_, rest)) => rest.trim_end_matches(')').trim_matches('"').to_owned(),
            None => name.clone(),
        };
        if presented.is_empty() {
            return "nobody".to_owned();
        }
        presented.iter().map(bare).collect::<Vec<_>>().join(", ")
    }

    fn of_alert(alert: AlertDescription) -> TlsFailure {
        let text = format!("{alert:?}");
        match alert {
            AlertDescription::CertificateRequired => TlsFailure::ClientCertificateMissing,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => TlsFailure::CertificateRefused { alert: text },
            AlertDescription::ProtocolVersion => {
                TlsFailure::NothingInCommon("the peer does not want our versions of TLS".to_owned())
            }
            AlertDescription::NoApplicationProtocol => {
                TlsFailure::NothingInCommon("no application protocol (ALPN)".to_owned())
            }
            // The word of TLS 1.2 for a missing client certificate as well.
            AlertDescription::HandshakeFailure => TlsFailure::Refused {
                alert: format!("{text} (it wants a client certificate, or other ciphers)"),
            },
            _ => TlsFailure::Refused { alert: text },
        }
    }
}
