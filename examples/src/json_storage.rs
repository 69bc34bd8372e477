//! A storage of your own: all retained messages in one JSON file, which is written anew at each save.
//!
//! Good for a few messages that people want to read and edit; `FileStore` is for many. The file may also be the
//! `RetainedMessages.json` of an MQTTnet server.
//!
//! `cargo run --example json_storage -- mqtt://127.0.0.1:1883 RetainedMessages.json`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use gantline::server::{RetainedChange, RetainedMessage, RetainedStore, StoreError, async_trait};
use gantline::storage_file::{Shape, read_json, write_json};
use gantline::{Server, ServerOptions};
use tokio::sync::Mutex;

/// The file, and what is in it.
struct JsonStorage {
    path: PathBuf,
    messages: Mutex<BTreeMap<String, RetainedMessage>>,
}

#[async_trait]
impl RetainedStore for JsonStorage {
    async fn load(&self, found: &mut (dyn FnMut(RetainedChange) + Send)) -> Result<(), StoreError> {
        let failed = |error| StoreError::new(format!("cannot load {}", self.path.display()), error);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error.into())),
        };
        let loaded = read_json(file, SystemTime::now())
            .map_err(|error| failed(Box::<dyn Error + Send + Sync>::from(error)))?;
        let mut messages = self.messages.lock().await;
        for message in loaded {
            messages.insert(message.message.topic().to_string(), message.clone());
            found(message.into());
        }
        Ok(())
    }

    async fn apply(&self, changes: Vec<RetainedChange>) -> Result<(), StoreError> {
        let mut messages = self.messages.lock().await;
        for change in changes {
            match change {
                RetainedChange::Set(message) => {
                    messages.insert(message.message.topic().to_string(), message);
                }
                RetainedChange::Clear(topic) => {
                    messages.remove(topic.as_str());
                }
            }
        }
        let (path, all) = (self.path.clone(), messages.values().cloned().collect::<Vec<_>>());
        let saved = tokio::task::spawn_blocking(move || save(&path, &all)).await;
        let saved = saved.map_err(io::Error::other).and_then(|saved| saved);
        saved.map_err(|error| StoreError::new(format!("cannot save {}", self.path.display()), error))
    }
}

/// Beside the old file first, so that there is always a whole one.
fn save(path: &PathBuf, messages: &[RetainedMessage]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::new(File::create(&unfinished)?);
    write_json(&mut file, messages, Shape::Plain, SystemTime::now())?;
    file.get_ref().sync_all()?;
    fs::rename(unfinished, path)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    let path = arguments.next().unwrap_or_else(|| "RetainedMessages.json".to_owned());
    let storage = JsonStorage { path: path.into(), messages: Mutex::default() };
    let server = Server::new(ServerOptions::default()).listen(url).retained_store(storage).start().await?;
    println!(
        "listening on {} with {} messages",
        server.local_addresses()[0],
        server.metrics().retained_messages
    );
    tokio::signal::ctrl_c().await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
