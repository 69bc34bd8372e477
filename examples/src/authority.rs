//! A certificate authority that is made on the spot and forgotten at the end, so that the programs about TLS run
//! without set-up. Leaves out: keeping a CA, which is what matters in earnest.

use gantline::{Certificates, PrivateKey, TlsIdentity};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, Error,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// The key.
    pub key: KeyPair,
}

impl Authority {
    /// An authority that nobody knows yet.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "example CA");
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Self)
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its certificate, to trust.
    pub fn certificates(&self) -> Certificates {
        Certificates::pem(self.pem())
    }

    /// Signs a certificate for a server with this name.
    ///
    /// # Errors
    ///
    /// The name is no host name.
    pub fn server(&self, host: &str) -> Result<Issued, Error> {
        self.sign("server", vec![host.to_owned()], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Signs a certificate for a client.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn client(&self, name: &str) -> Result<Issued, Error> {
        self.sign(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, name: &str, hosts: Vec<String>, usage: ExtendedKeyUsagePurpose) -> Result<Issued, Error> {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Issued { certificate, key })
    }
}

impl Issued {
    /// For the options of TLS.
    pub fn identity(&self) -> TlsIdentity {
        let chain = Certificates::pem(self.certificate.pem());
        TlsIdentity::new(chain, PrivateKey::pem(self.key.serialize_pem()))
    }
}
