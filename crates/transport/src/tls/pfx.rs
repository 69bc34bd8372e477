//! PKCS#12 files (PFX), and PKCS#8 keys that are encrypted with a password.
//!
//! Relates to: [`TlsIdentity::pfx`](super::TlsIdentity::pfx), [`PrivateKey::password`](super::PrivateKey::password).
//! Leaves out: writing either, and the encryption of PEM itself (`Proc-Type: 4,ENCRYPTED`), which derives keys with
//! MD5.

use std::path::Path;

use p12_keystore::{CertificateBag, Pkcs12Archive};
use pkcs8::{EncryptedPrivateKeyInfoRef, pkcs5};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::TlsOptionsError;
use super::identity::Parts;
use super::password::KeyPassword;
use super::source::Source;

/// A PKCS#12 file and its password.
#[derive(Clone, Debug)]
pub(super) struct Pfx {
    source: Source,
    password: KeyPassword,
}

impl Pfx {
    pub(super) const fn new(source: Source, password: KeyPassword) -> Self {
        Self { source, password }
    }

    pub(super) fn origin(&self) -> String {
        self.source.origin()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.source.file().into_iter().chain(self.password.path())
    }
}

/// Reads and decrypts it. Takes milliseconds of computing, which is what keeps guessers away.
pub(super) fn read(pfx: &Pfx) -> Result<Parts, TlsOptionsError> {
    let origin = || pfx.origin();
    let (bytes, password) = (pfx.source.read()?, pfx.password.read()?);
    let archive =
        Pkcs12Archive::from_pkcs12(&bytes, &password).map_err(|error| unreadable(origin(), &error))?;
    let Some(key) = archive.keys.first() else {
        return Err(TlsOptionsError::PfxWithoutKey { origin: origin() });
    };
    let id = key.local_key_id.as_ref().map(AsRef::as_ref);
    let chain = chain(&archive.certs, id);
    if chain.is_empty() {
        return Err(TlsOptionsError::PfxWithoutCertificate { origin: origin() });
    }
    Ok((chain, PrivatePkcs8KeyDer::from(key.key.as_der().to_vec()).into()))
}

/// The certificate of the key, and from each its issuer, as far as they are there. A root, which nobody needs to be
/// sent, is left out.
fn chain(bags: &[CertificateBag], key_id: Option<&[u8]>) -> Vec<CertificateDer<'static>> {
    let of_key = |bag: &&CertificateBag| bag.local_key_id.as_deref().is_some_and(|id| Some(id) == key_id);
    // Who makes such a file without ids puts the certificate of the key where no other one was signed with it.
    let leaf = |bag: &&CertificateBag| bags.iter().all(|other| other.cert.issuer() != bag.cert.subject());
    let Some(first) = bags.iter().find(of_key).or_else(|| bags.iter().find(leaf)).or(bags.first()) else {
        return Vec::new();
    };
    let mut chain = vec![first];
    while let Some(last) = chain.last()
        && let Some(issuer) = bags.iter().find(|bag| bag.cert.subject() == last.cert.issuer())
        && issuer.cert.issuer() != issuer.cert.subject()
        && !chain.iter().any(|known| known.cert == issuer.cert)
    {
        chain.push(issuer);
    }
    chain.iter().map(|bag| CertificateDer::from(bag.cert.as_der().to_vec())).collect()
}

fn unreadable(origin: String, error: &p12_keystore::error::Error) -> TlsOptionsError {
    use p12_keystore::error::Error;
    match error {
        // Without a check sum, a wrong password shows only in what comes out.
        Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError => {
            TlsOptionsError::WrongPassword { origin }
        }
        error => TlsOptionsError::Pfx { origin, problem: error.to_string() },
    }
}

/// The bytes of the first `ENCRYPTED PRIVATE KEY` section, or what is wrong with it.
pub(super) fn encrypted_section(pem: &[u8]) -> Result<Vec<u8>, String> {
    // rustls does not know this kind of section, and reads every other alike.
    let text = String::from_utf8_lossy(pem);
    let section = text.find("-----BEGIN ENCRYPTED").map_or("", |start| &text[start..]);
    let plain = section.replace("ENCRYPTED PRIVATE KEY", "PRIVATE KEY");
    let section = PrivatePkcs8KeyDer::from_pem_slice(plain.as_bytes()).map_err(|error| error.to_string())?;
    Ok(section.secret_pkcs8_der().to_vec())
}

/// A key that was in such a section.
pub(super) fn decrypt_key(
    encrypted: &[u8],
    origin: &dyn Fn() -> String,
    password: &KeyPassword,
) -> Result<PrivateKeyDer<'static>, TlsOptionsError> {
    let password = password.read()?;
    let unsupported = |error: pkcs8::Error| TlsOptionsError::EncryptedKeyUnsupported {
        origin: origin(),
        problem: error.to_string(),
    };
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(encrypted).map_err(unsupported)?;
    let key = encrypted.decrypt(password.as_bytes()).map_err(|error| match error {
        // What a wrong password leaves behind may also be no key.
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            TlsOptionsError::WrongPassword { origin: origin() }
        }
        error => unsupported(error),
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}
