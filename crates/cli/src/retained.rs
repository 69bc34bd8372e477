//! Retained messages on disk: the flags of `serve` for it, and `gantline retained`, which carries them in and out.
//!
//! Leaves out: the files and the shapes of JSON, which are the library's.

use std::{
    error::Error,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Subcommand, ValueEnum};
use gantline::{
    Server,
    server::{RetainedChange, RetainedStore},
    storage_file::{FileStore, FileStoreOptions, Fsync, OpenError, Shape, read_json, write_json},
};
use tokio::runtime::Builder;

use crate::args::seconds;

/// Where `serve` keeps retained messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Retained messages")]
pub(crate) struct Retained {
    /// Directory that keeps retained messages; it is made if it is not there [default: they are in memory only]
    #[arg(long, value_name = "DIR")]
    retained_dir: Option<PathBuf>,

    /// When they are forced to the disk: never, each-batch, or so many seconds after a change
    #[arg(long, value_name = "WHEN", default_value = "1", value_parser = fsync, requires = "retained_dir")]
    retained_fsync: Fsync,
}

impl Retained {
    /// The server with the store that the flags name.
    pub(crate) fn apply(&self, server: Server) -> Result<Server, OpenError> {
        let Some(directory) = &self.retained_dir else { return Ok(server) };
        let store = FileStoreOptions::default().fsync(self.retained_fsync).open(directory)?;
        Ok(server.retained_store(store))
    }
}

/// `gantline retained`.
#[derive(Debug, Subcommand)]
pub(crate) enum Transfer {
    /// Put the messages of a JSON array into a directory of `serve --retained-dir`
    ///
    /// Takes what `export` writes, and MQTTnet's RetainedMessages.json. Messages of the same topics are
    /// replaced, others stay. The broker must not be running on the directory.
    Import {
        /// The directory; it is made if it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,

        /// The file to read [default: stdin]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Write the messages of a directory of `serve --retained-dir` as a JSON array
    ///
    /// The broker must not be running on the directory.
    Export {
        /// The directory
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,

        /// What the objects of the array look like
        #[arg(long, value_enum, default_value = "plain")]
        shape: ShapeName,

        /// The file to write [default: stdout]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// A [`Shape`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ShapeName {
    /// Text as text, an expiry as a time
    Plain,
    /// As MQTTnet's server has it
    Mqttnet,
}

/// Imports or exports.
pub(crate) fn run(transfer: &Transfer) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().build()?;
    match transfer {
        Transfer::Import { dir, file } => runtime.block_on(import(dir, file.as_deref())),
        Transfer::Export { dir, shape, file } => {
            if !dir.is_dir() {
                return Err(format!("{} is no directory", dir.display()).into());
            }
            let shape = match shape {
                ShapeName::Plain => Shape::Plain,
                ShapeName::Mqttnet => Shape::Mqttnet,
            };
            runtime.block_on(export(dir, shape, file.as_deref()))
        }
    }
}

async fn import(directory: &Path, file: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now();
    let messages = match file {
        None => read_json(io::stdin().lock(), now).map_err(|error| format!("stdin: {error}"))?,
        Some(path) => File::open(path)
            .map_err(Into::into)
            .and_then(|file| read_json(file, now))
            .map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let store = FileStore::open(directory)?;
    let count = messages.len();
    let mut changes = messages.into_iter().map(RetainedChange::from);
    loop {
        let batch: Vec<_> = changes.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        store.apply(batch).await?;
    }
    store.close().await?;
    writeln!(io::stdout(), "imported {count} messages")?;
    Ok(())
}

async fn export(directory: &Path, shape: Shape, file: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let store = FileStore::open(directory)?;
    let messages = store.messages().await?;
    let damaged = store.load_report().map_or(0, |report| report.damaged);
    store.close().await?;
    let now = SystemTime::now();
    match file {
        None => write_json(BufWriter::new(io::stdout().lock()), &messages, shape, now)?,
        Some(path) => File::create(path)
            .and_then(|file| write_json(BufWriter::new(file), &messages, shape, now))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
    }
    if damaged > 0 {
        writeln!(io::stderr(), "{damaged} damaged lines of {} are left out", directory.display())?;
    }
    Ok(())
}

fn fsync(text: &str) -> Result<Fsync, String> {
    match text {
        "never" => Ok(Fsync::Never),
        "each-batch" => Ok(Fsync::EachBatch),
        _ => seconds(text)
            .map(Fsync::Interval)
            .map_err(|_| format!("{text} is neither never nor each-batch nor a number of seconds")),
    }
}

/// How many messages are written at once.
const BATCH: usize = 4_096;
