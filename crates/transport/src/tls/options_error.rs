//! TLS options that cannot be used, found before anything is sent.
//!
//! Relates to: [`TlsFailure`](super::TlsFailure), what can go wrong with the peer.

use std::io;
use std::sync::Arc;

/// Why TLS options cannot be used. Each says where the thing comes from that is wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsOptionsError {
    /// A file cannot be read.
    #[error("{origin} cannot be read: {cause}")]
    File {
        /// The file.
        origin: String,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// There is no certificate where one should be.
    #[error("{origin} has no certificate: PEM with BEGIN CERTIFICATE, or DER, is needed")]
    NoCertificate {
        /// The file, or "the given bytes".
        origin: String,
    },
    /// There is no private key where one should be.
    #[error("{origin} has no private key: PEM with BEGIN PRIVATE KEY, or DER, is needed")]
    NoKey {
        /// The file, or "the given bytes".
        origin: String,
    },
    /// The private key is protected with a password, and none was given, or this build cannot use one.
    #[error(
        "the private key in {origin} is encrypted: give its password (needs the feature pfx), or decrypt it with \
         openssl pkey -in KEY -out PLAIN_KEY"
    )]
    EncryptedKey {
        /// The file, or "the given bytes".
        origin: String,
    },
    /// The private key is encrypted in a way that is too weak or too rare to be supported.
    #[error(
        "the private key in {origin} is encrypted in an old way ({problem}): convert it with \
         openssl pkcs8 -topk8 -in KEY -out NEW_KEY"
    )]
    EncryptedKeyUnsupported {
        /// The file, or "the given bytes".
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The password of a private key or PKCS#12 file is not this one, or the file is damaged.
    #[error("the password does not open {origin}: check the password; if it is right, the file is damaged")]
    WrongPassword {
        /// The file, or "the given bytes".
        origin: String,
    },
    /// A PKCS#12 file holds no private key.
    #[error("{origin} has no private key: export it together with the certificate (not with -nokeys)")]
    PfxWithoutKey {
        /// The file, or "the given bytes".
        origin: String,
    },
    /// A PKCS#12 file holds no certificate.
    #[error("{origin} has no certificate: export it together with the private key (not with -nocerts)")]
    PfxWithoutCertificate {
        /// The file, or "the given bytes".
        origin: String,
    },
    /// What should be PKCS#12 is not, or uses what is not supported.
    #[error(
        "{origin} cannot be read as PKCS#12 ({problem}): if openssl reads it, convert it with \
         openssl pkcs12 -in OLD -nodes | openssl pkcs12 -export -out NEW"
    )]
    Pfx {
        /// The file, or "the given bytes".
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The callback that a client's identity comes from has none; it says why.
    #[error("the identity provider of the TLS options failed: {cause}")]
    IdentityProvider {
        /// What it said.
        #[source]
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A configuration is wanted at once, and the identity is to be asked for.
    #[error("the TLS options have an identity provider, which is asked by connecting only: give an identity")]
    IdentityNotAsked,
    /// The CAs of the system are wanted, and it has none.
    #[error(
        "the system's CAs cannot be used ({problem}): install them (the package ca-certificates, say), set \
         SSL_CERT_FILE, or trust a CA of your own"
    )]
    NoSystemRoots {
        /// What the system said.
        problem: String,
    },
    /// What should be PEM is not.
    #[error("{origin} is damaged PEM: {problem}")]
    Pem {
        /// The file, or "the given bytes".
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate cannot be used.
    #[error("a certificate in {origin} cannot be used: {problem}")]
    Certificate {
        /// The file, or "the given bytes".
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The private key is of a kind that is not supported, or damaged.
    #[error("the private key in {origin} cannot be used: {problem}")]
    Key {
        /// The file, or "the given bytes".
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The private key belongs to another certificate.
    #[error(
        "the private key in {key} does not fit the certificate in {certificate}: they must be made together"
    )]
    KeyMismatch {
        /// Where the certificate comes from.
        certificate: String,
        /// Where the key comes from.
        key: String,
    },
    /// No version of TLS is allowed.
    #[error("the TLS options allow no version: name TLS 1.2, TLS 1.3 or both")]
    NoVersion,
    /// The name of the server cannot stand in a certificate.
    #[error("{name:?} is no host name or IP address that a certificate could be checked against")]
    ServerName {
        /// The host of the address, or the name of the options.
        name: String,
    },
    /// Client certificates are asked for and there is nothing to check them against.
    #[error(
        "client certificates are asked for, but there is neither a client CA nor a callback to judge them"
    )]
    NothingToJudgeBy,
    /// There is something to check client certificates against and they are not asked for.
    #[error("there is a client CA or a callback, but client certificates are not asked for")]
    ClientCertificatesNotAsked,
    /// TLS cannot be set up for another reason.
    #[error("TLS cannot be set up: {0}")]
    Other(String),
}
