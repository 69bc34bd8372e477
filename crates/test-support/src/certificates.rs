//! A certificate authority that lives as long as a test.
//!
//! [`Authority::new`] makes one; it signs [`Identity`]s for servers and clients. Leaves out: anything that a real
//! authority would have to think about.

#![expect(clippy::expect_used, reason = "helpers of tests may panic")]

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};

/// Signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both as PEM and in DER.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS#8.
    pub key: String,
    /// The certificate in DER.
    pub certificate_der: Vec<u8>,
    /// The key in DER.
    pub key_der: Vec<u8>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub enum Validity {
    /// Now.
    Now,
    /// Until the year 2020.
    Past,
    /// From the year 3000.
    Future,
}

impl Authority {
    /// A new authority, which nobody trusts yet.
    pub fn new(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key()).expect("the parameters are right"))
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its own certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// The identity of a server with these names, which may be IP addresses.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.server_valid(names, Validity::Now)
    }

    /// The identity of a server for some other time.
    pub fn server_valid(&self, names: &[&str], validity: Validity) -> Identity {
        self.sign(params(names, "server"), ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    /// The identity of a client.
    pub fn client(&self, name: &str) -> Identity {
        self.sign(params(&[], name), ExtendedKeyUsagePurpose::ClientAuth, Validity::Now)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Identity {
        params.extended_key_usages = vec![usage];
        match validity {
            Validity::Now => {}
            Validity::Past => params.not_after = date_time_ymd(2020, 1, 1),
            Validity::Future => params.not_before = date_time_ymd(3000, 1, 1),
        }
        let key = key();
        let certificate: Certificate = params.signed_by(&key, &self.0).expect("the parameters are right");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            certificate_der: certificate.der().to_vec(),
            key_der: key.serialize_der(),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

fn params(names: &[&str], name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("the names are right");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
