//! The parent: starts the others, does violence to them, and judges.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs, process};

use tokio::time::sleep;

use crate::ledger;
use crate::options::Options;
use crate::process::Process;
use crate::proxy::{Proxy, Violence};
use crate::random::Random;
use crate::subscriber::{BY_HAND, WHEN_TAKEN};
use crate::verdict::{self, judge};

pub(crate) async fn run(options: Options) -> ExitCode {
    println!("chaos: {options:?}");
    let directory = env::temp_dir().join(format!("gantline-chaos-{}", process::id()));
    match all(options, &directory).await {
        Ok(()) => {
            let _ = fs::remove_dir_all(&directory);
            ExitCode::SUCCESS
        }
        Err(evidence) => {
            eprintln!("chaos with --seed {} failed:\n{evidence}", options.seed);
            eprintln!("the files are in {}", directory.display());
            ExitCode::FAILURE
        }
    }
}

async fn all(options: Options, directory: &Path) -> Result<(), String> {
    let mut random = Random::new(options.seed);
    cuts(options.cuts, &directory.join("cuts"), &mut random).await?;
    kills(options.kills, &directory.join("kills"), &mut random).await?;
    server_kills(options.server_kills, &directory.join("server-kills"), &mut random).await
}

/// The others, and where they keep their files.
struct Scene {
    directory: PathBuf,
    /// Before the publisher, and before the subscriber.
    proxies: [Proxy; 2],
    acks: &'static str,
    server: Process,
    publisher: Process,
    subscriber: Process,
    began: Instant,
}

impl Scene {
    async fn set(directory: &Path, acks: &'static str, random: &mut Random) -> Result<Self, String> {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let proxies = [Proxy::start(random.split()).await, Proxy::start(random.split()).await];
        let (server, address) = server().await?;
        proxies.iter().for_each(|proxy| proxy.lead_to(Some(address)));
        let directory = directory.to_path_buf();
        let subscriber = subscriber(&directory, &proxies[1], acks);
        // What is published before is nobody's.
        subscriber.until("its subscription", |status| status.ready).await?;
        let publisher = publisher(&directory, &proxies[0]);
        Ok(Self { directory, proxies, acks, server, publisher, subscriber, began: Instant::now() })
    }

    /// Lets all come to an end, and judges.
    async fn end(mut self, violence: verdict::Violence, what: String) -> Result<(), String> {
        self.proxies.iter().for_each(|proxy| proxy.set(Violence::Off));
        self.publisher.finish();
        let status = self.publisher.ended().await?;
        if !status.success() {
            return Err(format!("the publisher failed ({status})"));
        }
        self.subscriber.until("the last messages", |status| status.last).await?;
        self.server.finish();
        let status = self.server.until("what it has dropped", |status| status.dropped.is_some()).await?;
        if status.dropped != Some(0) {
            return Err(format!("{what}: the server's queues were full, it dropped {:?}", status.dropped));
        }
        let read = |name: &str| ledger::read(&self.directory.join(name));
        let figures = judge(&read("publisher.ledger"), &read("subscriber.ledger"), violence);
        let seconds = self.began.elapsed().as_secs_f64();
        let figures = figures.map_err(|faults| format!("{what}:\n{faults}"))?;
        let [publisher, subscriber] = self.proxies.map(|proxy| proxy.tally());
        println!("{what} in {seconds:.1} s");
        println!("  connections of the publisher: {publisher}; of the subscriber: {subscriber}");
        println!("{figures}");
        Ok(())
    }
}

fn publisher(directory: &Path, proxy: &Proxy) -> Process {
    Process::start(&["publisher", directory.to_str().unwrap(), &proxy.url()])
}

fn subscriber(directory: &Path, proxy: &Proxy, acks: &str) -> Process {
    Process::start(&["subscriber", directory.to_str().unwrap(), &proxy.url(), acks])
}

async fn server() -> Result<(Process, SocketAddr), String> {
    let server = Process::start(&["server"]);
    let status = server.until("its address", |status| status.listens.is_some()).await?;
    let address = status.listens.unwrap_or_default();
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    Ok((server, address))
}

async fn cuts(cuts: u64, directory: &Path, random: &mut Random) -> Result<(), String> {
    let scene = Scene::set(directory, WHEN_TAKEN, random).await?;
    scene.proxies.iter().for_each(|proxy| proxy.set(Violence::On));
    let [publisher, subscriber] = &scene.proxies;
    tokio::try_join!(publisher.reaches(cuts / 2), subscriber.reaches(cuts.div_ceil(2)))?;
    scene.end(verdict::Violence::Cuts, format!("{cuts} connections ended")).await
}

async fn kills(kills: u64, directory: &Path, random: &mut Random) -> Result<(), String> {
    let mut scene = Scene::set(directory, BY_HAND, random).await?;
    // A connection of the subscriber that ends is to it as a kill, and would hide what should not be.
    scene.proxies[0].set(Violence::On);
    for _ in 0..kills {
        kill(&mut scene.publisher, random).await?;
        scene.publisher = publisher(&scene.directory, &scene.proxies[0]);
        kill(&mut scene.subscriber, random).await?;
        scene.subscriber = subscriber(&scene.directory, &scene.proxies[1], scene.acks);
    }
    scene.end(verdict::Violence::Kills, format!("{kills} kills of the publisher and of the subscriber")).await
}

/// Kills a client: at work mostly, and now and then while it begins.
async fn kill(client: &mut Process, random: &mut Random) -> Result<(), String> {
    if random.below(4) > 0 {
        client.progress().await?;
    }
    sleep(random.millis(80)).await;
    client.kill();
    Ok(())
}

async fn server_kills(kills: u64, directory: &Path, random: &mut Random) -> Result<(), String> {
    let mut scene = Scene::set(directory, WHEN_TAKEN, random).await?;
    for _ in 0..kills {
        sleep(random.millis(80)).await;
        scene.server.kill();
        scene.proxies.iter().for_each(|proxy| proxy.lead_to(None));
        sleep(random.millis(40)).await;
        let (server, address) = server().await?;
        scene.server = server;
        scene.proxies.iter().for_each(|proxy| proxy.lead_to(Some(address)));
        // They come back by themselves.
        tokio::try_join!(scene.publisher.progress(), scene.subscriber.progress())?;
    }
    scene.end(verdict::Violence::ServerKills, format!("{kills} kills of the server")).await
}
