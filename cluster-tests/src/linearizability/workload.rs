//! Clients that run random commands from a seed and record what happens.

use super::history::{CallId, History, Recorder};
use crate::RackError;
use crate::memcached::{Command, Encoding, Item, Outcome, RequestId, TcpClient, UdpClient, decode, encode};
use crate::rack::Host;
use crate::random::Random;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

/// What the clients do. Commands follow from the seed; how they interleave is up to the machine.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The seed.
    pub seed: u64,
    /// How many clients, spread over the hosts.
    pub clients: usize,
    /// How many commands each client runs.
    pub commands: usize,
    /// How many keys; the even ones hold numbers, the odd ones text.
    pub keys: usize,
    /// Every how many-th command is a write.
    pub write_one_in: usize,
    /// How long a client over UDP waits for a reply until it goes on without.
    pub patience: Duration,
    /// How long a client rests after a command, at most; the time is drawn.
    pub rest: Duration,
    /// Every how many-th write stores for a second or two; 0 is never.
    pub expiring_one_in: usize,
    /// Every how many-th command of a client over TCP in text flushes all; 0 is never.
    pub flush_one_in: usize,
    /// Encodings to draw from: over UDP for each command, over TCP for each connection.
    pub encodings: Vec<Encoding>,
    /// How the clients send their requests: the first in the first way, and so on, and from the beginning.
    pub routes: Vec<Route>,
}

/// How a client reaches the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One datagram for each request.
    Udp(SocketAddrV4),
    /// A connection, and a new one when it ends or a reply does not come.
    Tcp(SocketAddrV4),
}

/// A history and what is needed to judge whether it was worth checking.
#[derive(Debug)]
pub struct WorkloadReport {
    /// What happened.
    pub history: History,
    /// Replies that came after their client had gone on.
    pub late: usize,
    /// Errors that servers or the node answered, such as `SERVER_ERROR`, and those of connections.
    pub errors: Vec<String>,
}

impl Workload {
    /// The keys' names.
    pub fn key_names(&self) -> Vec<String> {
        (0..self.keys).map(|key| key_name(self.seed, key)).collect()
    }

    /// Runs the clients to their end on `hosts`, or here if there are none; and beside them, on the calling thread,
    /// `meanwhile`.
    ///
    /// # Errors
    /// [`RackError::Io`] if a client's socket fails.
    pub fn run(
        &self,
        hosts: &[Host],
        meanwhile: impl FnOnce(&Recorder),
    ) -> Result<WorkloadReport, RackError> {
        let recorder = Recorder::default();
        let outcomes: Vec<io::Result<Tally>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let (recorder, host) = (&recorder, hosts.iter().cycle().nth(number));
                    scope.spawn(move || {
                        host.map_or(Ok(()), Host::enter).map_err(io::Error::other)?;
                        Client::new(self, recorder, number).run()
                    })
                })
                .collect();
            meanwhile(&recorder);
            let joined = clients.into_iter().map(|client| client.join());
            joined.map(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut report = WorkloadReport { history: recorder.finish(), late: 0, errors: Vec::new() };
        for outcome in outcomes {
            let tally = outcome.map_err(RackError::io("a client's socket"))?;
            report.late += tally.late;
            report.errors.extend(tally.errors);
        }
        Ok(report)
    }
}

#[derive(Debug, Default)]
struct Tally {
    late: usize,
    errors: Vec<String>,
}

struct Client<'a> {
    workload: &'a Workload,
    recorder: &'a Recorder,
    number: usize,
    random: Random,
    /// The last CAS unique seen, by key.
    uniques: HashMap<usize, u64>,
    /// Requests whose replies have not come: also those that were given up.
    open: HashMap<RequestId, Open>,
    tally: Tally,
}

struct Open {
    call: CallId,
    key: usize,
    encoding: Encoding,
    command: Command,
}

impl<'a> Client<'a> {
    fn new(workload: &'a Workload, recorder: &'a Recorder, number: usize) -> Self {
        let random = Random::new(workload.seed.wrapping_mul(1000) + number as u64);
        Self {
            workload,
            recorder,
            number,
            random,
            uniques: HashMap::new(),
            open: HashMap::new(),
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> io::Result<Tally> {
        match self.workload.routes[self.number % self.workload.routes.len()] {
            Route::Udp(to) => self.run_udp(to)?,
            Route::Tcp(to) => self.run_tcp(to)?,
        }
        Ok(self.tally)
    }

    /// How long it rests is what is drawn: nothing is waited for.
    fn rest(&mut self) {
        let most = self.workload.rest.as_micros() as usize;
        if most > 0 {
            thread::sleep(Duration::from_micros(self.random.below(most) as u64));
        }
    }

    fn run_udp(&mut self, to: SocketAddrV4) -> io::Result<()> {
        let mut socket = UdpClient::connect(to)?;
        for sequence in 0..self.workload.commands {
            self.rest();
            let (key, command) = self.draw(sequence);
            let encoding = *self.random.pick(&self.workload.encodings);
            let name = key_name(self.workload.seed, key);
            let request = encode(encoding, name.as_bytes(), &command);
            let call = self.recorder.call(self.number, &name, command.clone());
            let until = Instant::now() + self.workload.patience;
            let id = socket.send(&request)?;
            self.open.insert(id, Open { call, key, encoding, command });
            while self.open.contains_key(&id) {
                let Some((replied, reply)) = socket.receive(until)? else { break };
                self.complete(replied, reply, replied != id);
            }
        }
        // Replies that are still under way make the check sharper.
        let until = Instant::now() + self.workload.patience;
        while !self.open.is_empty() {
            let Some((replied, reply)) = socket.receive(until)? else { break };
            self.complete(replied, reply, true);
        }
        Ok(())
    }

    fn run_tcp(&mut self, to: SocketAddrV4) -> io::Result<()> {
        let mut connected = None;
        for sequence in 0..self.workload.commands {
            self.rest();
            let (stream, encoding) = match &mut connected {
                Some((stream, encoding)) => (stream, *encoding),
                none => {
                    let encoding = *self.random.pick(&self.workload.encodings);
                    (&mut none.insert((TcpClient::connect(to)?, encoding)).0, encoding)
                }
            };
            let flush = self.workload.flush_one_in;
            let lost = if encoding != Encoding::Binary && flush > 0 && self.random.one_in(flush) {
                self.flush(stream)
            } else {
                let (key, command) = self.draw(sequence);
                let name = key_name(self.workload.seed, key);
                let call = self.recorder.call(self.number, &name, command.clone());
                let outcome = stream.execute(encoding, name.as_bytes(), &command);
                outcome.map(|outcome| self.learn(call, key, outcome))
            };
            if let Err(error) = lost {
                self.tally.errors.push(error.to_string());
                connected = None;
            }
        }
        Ok(())
    }

    fn flush(&mut self, stream: &mut TcpClient) -> io::Result<()> {
        let names = self.workload.key_names();
        let calls: Vec<CallId> = names.iter().map(|name| self.recorder.flush(self.number, name)).collect();
        let reply = stream.ask(b"flush_all\r\n", |reply| reply.ends_with(b"\r\n"))?;
        if reply != b"OK\r\n" {
            self.tally.errors.push(String::from_utf8_lossy(&reply).trim_end().to_owned());
            return Ok(());
        }
        calls.into_iter().for_each(|call| self.recorder.returned(call, Outcome::Done));
        Ok(())
    }

    fn complete(&mut self, id: RequestId, reply: &[u8], late: bool) {
        let Some(open) = self.open.get(&id) else { return };
        let Some(outcome) = decode(open.encoding, &open.command, reply) else { return };
        let (call, key) = (open.call, open.key);
        self.open.remove(&id);
        self.tally.late += usize::from(late);
        self.learn(call, key, outcome);
    }

    /// An error answer says nothing about whether the command took effect.
    fn learn(&mut self, call: CallId, key: usize, outcome: Outcome) {
        if let Outcome::Error(error) = outcome {
            self.tally.errors.push(error);
            return;
        }
        if let Outcome::Value { cas: Some(unique), .. } = outcome {
            self.uniques.insert(key, unique);
        }
        self.recorder.returned(call, outcome);
    }

    fn draw(&mut self, sequence: usize) -> (usize, Command) {
        let key = self.random.below(self.workload.keys);
        if !self.random.one_in(self.workload.write_one_in) {
            let reads =
                [Command::Get, Command::Get, Command::Get, Command::Gets, Command::Gets, Command::Gat];
            return (key, self.random.pick(&reads).clone());
        }
        let numeric = key.is_multiple_of(2);
        let mark = (self.number * self.workload.commands + sequence) as u32;
        let value = if numeric { (u64::from(mark) * 100).to_string() } else { format!("<{mark}>") };
        let item = Item::new(mark, value.clone());
        let expiring = self.workload.expiring_one_in;
        if expiring > 0 && self.random.one_in(expiring) {
            return (key, Command::SetFor(item, 1 + mark % 2));
        }
        let command = match (self.random.below(10), numeric) {
            (0 | 1, _) => Command::Set(item),
            (2, _) => Command::Add(item),
            (3, _) => Command::Replace(item),
            (4 | 5, _) => match self.uniques.get(&key) {
                Some(unique) => Command::Cas(item, *unique),
                None => Command::Set(item),
            },
            (6, _) => Command::Delete,
            (7, true) => Command::Increment(1 + u64::from(mark % 7)),
            (8, true) => Command::Decrement(1 + u64::from(mark % 7)),
            (7, false) => Command::Append(value.into_bytes()),
            (8, false) => Command::Prepend(value.into_bytes()),
            _ => Command::Touch,
        };
        (key, command)
    }
}

fn key_name(seed: u64, key: usize) -> String {
    format!("register-{seed}-{key}")
}
