//! Extended authentication with SCRAM-SHA-256 (RFC 5802, RFC 7677): both ends prove that they know the password, and
//! neither sends it. A server with users, a client that authenticates, publishes and authenticates again, and one with
//! a wrong password.
//!
//! `cargo run --release --example scram`
//!
//! Leaves out: channel binding, and the preparation of names and passwords beyond ASCII (RFC 4013).

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gantline::client::ConnectError;
use gantline::protocol::{
    AuthenticationContext, AuthenticationExchange, AuthenticationMethod, AuthenticationStep, async_trait,
};
use gantline::{Client, ConnectOptions, Message, QoS, ReasonCode, Server, ServerOptions};
use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest, Sha256};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut users = Users::new();
    users.add("ada", "correct horse battery staple");
    let server = Server::new(ServerOptions::default()).authentication_method(users);
    let server = server.listen("mqtt://127.0.0.1:0").start().await?;
    let url = server.local_addresses()[0].to_string();

    let scram = Scram::new("ada", "correct horse battery staple");
    let client = Client::connect(ConnectOptions::new(&url)?.authentication(scram)).await?;
    println!("ada and the server have proved who they are");
    client.publish(Message::new("home/kitchen/light", "on")?.qos(QoS::AtLeastOnce)).await?;
    println!("ada has published");
    client.reauthenticate().await?;
    println!("ada and the server have proved it again");
    client.disconnect().await?;

    let wrong = ConnectOptions::new(&url)?.authentication(Scram::new("ada", "password"));
    match Client::connect(wrong).await {
        Err(ConnectError::Refused(refusal)) => println!("a wrong password: {}", refusal.reason),
        other => return Err(format!("a wrong password: {other:?}").into()),
    }
    server.shutdown(Duration::from_secs(5)).await;
    println!("done");
    Ok(())
}

type Key = [u8; 32];

const NAME: &str = "SCRAM-SHA-256";
/// The least that RFC 7677 allows. More makes guessing slower for whoever steals the records, and connecting for
/// clients.
const ITERATIONS: u32 = 4096;
/// More than this no server can make a client compute.
const MOST_ITERATIONS: u32 = 1_000_000;

// ---- the server's end ----

/// What a server stores of a user: enough to check a proof, not enough to give one.
#[derive(Clone)]
struct User {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

impl User {
    fn new(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, iterations);
        let (stored_key, server_key) = (hash(&mac(&salted, b"Client Key")), mac(&salted, b"Server Key"));
        Self { salt, iterations, stored_key, server_key }
    }

    /// A user that nobody is. It looks alike each time, so that a stranger cannot find out which users there are.
    fn imagined(name: &str, secret: &Key) -> Self {
        let key = mac(secret, name.as_bytes());
        Self { salt: key[..16].to_vec(), iterations: ITERATIONS, stored_key: key, server_key: key }
    }
}

/// The method of the server. Clones know the same users.
#[derive(Clone)]
struct Users {
    users: Arc<HashMap<String, User>>,
    secret: Key,
}

impl Users {
    fn new() -> Self {
        Self { users: Arc::default(), secret: random() }
    }

    fn add(&mut self, name: &str, password: &str) {
        let user = User::new(password, random()[..16].to_vec(), ITERATIONS);
        Arc::make_mut(&mut self.users).insert(name.to_owned(), user);
    }

    fn find(&self, name: &str) -> User {
        self.users.get(name).cloned().unwrap_or_else(|| User::imagined(name, &self.secret))
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.users.len()).finish_non_exhaustive()
    }
}

impl AuthenticationMethod for Users {
    fn name(&self) -> &str {
        NAME
    }

    fn begin(&self, _: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange> {
        Box::new(ServerExchange { users: self.clone(), nonce: nonce(), challenge: None })
    }
}

struct ServerExchange {
    users: Users,
    nonce: String,
    challenge: Option<Challenge>,
}

/// What the server has asked, and whom.
struct Challenge {
    user: User,
    /// `n,,`: the client's word on channel binding.
    header: String,
    /// Both nonces.
    nonce: String,
    /// The messages so far, without that word.
    messages: String,
}

#[async_trait]
impl AuthenticationExchange for ServerExchange {
    async fn step(&mut self, data: Option<&[u8]>) -> AuthenticationStep {
        let Some(message) = text(data) else { return REFUSED };
        let answer = match self.challenge.take() {
            None => self.challenge(message).map(|answer| AuthenticationStep::Continue(Some(answer.into()))),
            Some(challenge) => {
                challenge.check(message).map(|answer| AuthenticationStep::Done(Some(answer.into())))
            }
        };
        answer.unwrap_or(REFUSED)
    }
}

impl ServerExchange {
    /// `n,,n=user,r=nonce` is answered with `r=nonces,s=salt,i=iterations`.
    fn challenge(&mut self, first: &str) -> Option<String> {
        let (header, bare) = first.split_at_checked(3)?;
        if header != "n,," && header != "y,," {
            return None;
        }
        let (name, theirs) = bare.strip_prefix("n=")?.split_once(",r=")?;
        let user = self.users.find(&unescaped(name)?);
        let nonce = format!("{theirs}{}", self.nonce);
        let answer = format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&user.salt), user.iterations);
        let messages = format!("{bare},{answer}");
        self.challenge = Some(Challenge { user, header: header.to_owned(), nonce, messages });
        Some(answer)
    }
}

impl Challenge {
    /// `c=header,r=nonces,p=proof` is answered with `v=signature`.
    fn check(self, last: &str) -> Option<String> {
        let (bare, proof) = last.rsplit_once(",p=")?;
        if bare != format!("c={},r={}", BASE64_STANDARD.encode(&self.header), self.nonce) {
            return None;
        }
        let message = format!("{},{bare}", self.messages);
        let signature = mac(&self.user.stored_key, message.as_bytes());
        let client_key = xor(signature, &BASE64_STANDARD.decode(proof).ok()?)?;
        let is_known = equal(hash(&client_key), self.user.stored_key);
        is_known
            .then(|| format!("v={}", BASE64_STANDARD.encode(mac(&self.user.server_key, message.as_bytes()))))
    }
}

// ---- the client's end ----

/// The method of the client.
#[derive(Clone)]
struct Scram {
    name: String,
    password: String,
}

impl Scram {
    fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned() }
    }

    fn exchange(&self, nonce: String) -> ClientExchange {
        ClientExchange { scram: self.clone(), nonce, stage: Stage::First }
    }
}

impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AuthenticationMethod for Scram {
    fn name(&self) -> &str {
        NAME
    }

    fn begin(&self, _: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange> {
        Box::new(self.exchange(nonce()))
    }
}

struct ClientExchange {
    scram: Scram,
    nonce: String,
    stage: Stage,
}

enum Stage {
    First,
    /// Our first message was sent: this, without its header.
    Asked(String),
    /// Our proof was sent: the server has to give this one.
    Proved(Key),
    /// The server has given it.
    Content,
    Failed,
}

#[async_trait]
impl AuthenticationExchange for ClientExchange {
    async fn step(&mut self, data: Option<&[u8]>) -> AuthenticationStep {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::First => {
                let first = format!("n={},r={}", escaped(&self.scram.name), self.nonce);
                let message = format!("n,,{first}");
                self.stage = Stage::Asked(first);
                AuthenticationStep::Continue(Some(message.into()))
            }
            Stage::Asked(first) => match text(data).and_then(|challenge| self.prove(&first, challenge)) {
                Some(proof) => AuthenticationStep::Continue(Some(proof.into())),
                None => REFUSED,
            },
            Stage::Proved(expected) => match text(data).and_then(signature) {
                Some(signature) if equal(signature, expected) => {
                    self.stage = Stage::Content;
                    AuthenticationStep::Done(None)
                }
                _ => REFUSED,
            },
            // A server may send its signature in AUTH, and then CONNACK without data.
            Stage::Content if data.is_none() => AuthenticationStep::Done(None),
            Stage::Content | Stage::Failed => REFUSED,
        }
    }
}

impl ClientExchange {
    /// `r=nonces,s=salt,i=iterations` is answered with `c=header,r=nonces,p=proof`.
    fn prove(&mut self, first: &str, challenge: &str) -> Option<String> {
        let (nonce, rest) = challenge.strip_prefix("r=")?.split_once(",s=")?;
        let (salt, iterations) = rest.split_once(",i=")?;
        let iterations = iterations.parse().ok()?;
        // A server that repeats our nonce only wants to hear an old proof again; one that iterates little wants to
        // guess.
        let is_fresh = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce);
        if !is_fresh || !(ITERATIONS..=MOST_ITERATIONS).contains(&iterations) {
            return None;
        }
        let salt = BASE64_STANDARD.decode(salt).ok()?;
        let salted = pbkdf2_hmac_array::<Sha256, 32>(self.scram.password.as_bytes(), &salt, iterations);
        let client_key = mac(&salted, b"Client Key");
        let bare = format!("c={},r={nonce}", BASE64_STANDARD.encode("n,,"));
        let message = format!("{first},{challenge},{bare}");
        let proof = xor(client_key, &mac(&hash(&client_key), message.as_bytes()))?;
        self.stage = Stage::Proved(mac(&mac(&salted, b"Server Key"), message.as_bytes()));
        Some(format!("{bare},p={}", BASE64_STANDARD.encode(proof)))
    }
}

/// What the server proves with: `v=signature`.
fn signature(last: &str) -> Option<Key> {
    BASE64_STANDARD.decode(last.strip_prefix("v=")?).ok()?.try_into().ok()
}

// ---- what both ends need ----

const REFUSED: AuthenticationStep = AuthenticationStep::Refuse(ReasonCode::NotAuthorized);

fn text(data: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(data?).ok()
}

fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn unescaped(name: &str) -> Option<String> {
    let plain = name.replace("=2C", ",").replace("=3D", "=");
    (escaped(&plain) == name).then_some(plain)
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn mac(key: &Key, message: &[u8]) -> Key {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.chain_update(message).finalize().into_bytes().into()
}

fn hash(key: &Key) -> Key {
    Sha256::digest(key).into()
}

fn xor(mut one: Key, other: &[u8]) -> Option<Key> {
    if other.len() != one.len() {
        return None;
    }
    one.iter_mut().zip(other).for_each(|(one, other)| *one ^= other);
    Some(one)
}

/// Compares in a time that tells nothing about where two keys differ.
fn equal(one: Key, other: Key) -> bool {
    CtOutput::<Sha256>::new(one.into()) == CtOutput::new(other.into())
}

/// Printable and without comma.
fn nonce() -> String {
    BASE64_STANDARD.encode(&random()[..18])
}

fn random() -> Key {
    // The keys of a `RandomState` come from the operating system.
    let mut key = Key::default();
    key.chunks_mut(8)
        .for_each(|chunk| chunk.copy_from_slice(&RandomState::new().hash_one(0_u8).to_be_bytes()));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn ends(password: &str) -> (ClientExchange, ServerExchange) {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut users = Users::new();
        Arc::make_mut(&mut users.users).insert("user".into(), User::new("pencil", salt, ITERATIONS));
        let server = ServerExchange { users, nonce: SERVER_NONCE.into(), challenge: None };
        (Scram::new("user", password).exchange(CLIENT_NONCE.into()), server)
    }

    fn sent(step: AuthenticationStep) -> String {
        match step {
            AuthenticationStep::Continue(Some(data)) | AuthenticationStep::Done(Some(data)) => {
                String::from_utf8(data.to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_exchange_of_rfc_7677_section_3() {
        let (mut client, mut server) = ends("pencil");
        let first = sent(client.step(None).await);
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = sent(server.step(Some(first.as_bytes())).await);
        assert_eq!(
            challenge,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let proof = sent(client.step(Some(challenge.as_bytes())).await);
        assert_eq!(
            proof,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let signature = server.step(Some(proof.as_bytes())).await;
        assert!(matches!(signature, AuthenticationStep::Done(_)));
        let signature = sent(signature);
        assert_eq!(signature, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(client.step(Some(signature.as_bytes())).await, AuthenticationStep::Done(None));
    }

    #[tokio::test]
    async fn a_wrong_password_or_a_changed_word_is_refused() {
        for (password, from, to) in
            [("pen", "", ""), ("pencil", "c=biws", "c=eSws"), ("pencil", "k0,p=", "k1,p=")]
        {
            let (mut client, mut server) = ends(password);
            let first = sent(client.step(None).await);
            let challenge = sent(server.step(Some(first.as_bytes())).await);
            let proof = sent(client.step(Some(challenge.as_bytes())).await).replace(from, to);
            assert_eq!(server.step(Some(proof.as_bytes())).await, REFUSED);
        }
    }

    #[tokio::test]
    async fn a_server_that_does_not_know_the_password_is_refused() {
        let (mut client, mut server) = ends("pencil");
        let first = sent(client.step(None).await);
        let challenge = sent(server.step(Some(first.as_bytes())).await);
        client.step(Some(challenge.as_bytes())).await;
        let wrong = format!("v={}", BASE64_STANDARD.encode(Key::default()));
        assert_eq!(client.step(Some(wrong.as_bytes())).await, REFUSED);
        // Nor is one that gives no challenge, an old one, or one that is easy to guess.
        for challenge in ["", "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", "r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=1"] {
            let (mut client, _) = ends("pencil");
            client.step(None).await;
            assert_eq!(client.step(Some(challenge.as_bytes())).await, REFUSED);
        }
    }

    #[test]
    fn nobody_learns_which_users_there_are() {
        let mut users = Users::new();
        users.add("ada", "secret");
        assert_eq!(users.find("eve").salt, users.find("eve").salt);
        assert_ne!(users.find("eve").salt, users.find("bob").salt);
        assert_eq!(users.find("eve").salt.len(), users.find("ada").salt.len());
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("a=b,c"), "a=3Db=2Cc");
        assert_eq!(unescaped("a=3Db=2Cc").as_deref(), Some("a=b,c"));
        assert_eq!(unescaped("a=b"), None);
    }
}
